"""Times of calls that take turns, and tables of what was found.

Everything that is compared is timed in one process, in turn and warm, so that whatever else
the machine does falls on all alike. Read ratios, not seconds.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

OUT = flags.DEFINE_string("out", "runs/benchmarks", "Folder for JSON of what was measured.")
PAUSE = 0.02
"""Seconds before each timed call, in which the threads of the last one come to rest."""


class Spread(NamedTuple):
    """Seconds of one call."""

    median: float
    low: float
    high: float

    def __str__(self):
        median, low, high = map(duration, self)
        return f"{median} ({low} to {high})"

    def over(self, count: int) -> "Spread":
        """Of one of `count` things that the call does."""
        return Spread(*(x / count for x in self))


def in_turn(
    calls: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Spread]:
    """Each call once without the clock, then `rounds` times by turns, in seconds.

    A call that returns arrays of JAX is waited for.
    """
    seconds = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(PAUSE)
            start = clock()
            jax.block_until_ready(call())
            if turn:
                seconds[name].append(clock() - start)
    return {name: spread(times) for name, times in seconds.items()}


def one_by_one(call: Callable[[], object], times: int) -> np.ndarray:
    """Seconds of each of many short calls in a row, after a tenth as many without the clock."""
    for _ in range(times // 10):
        call()
    seconds = np.empty(times)
    for i in range(times):
        start = time.perf_counter()
        call()
        seconds[i] = time.perf_counter() - start
    return seconds


def spread(seconds: list[float]) -> Spread:
    return Spread(statistics.median(seconds), min(seconds), max(seconds))


def gigaflops(size: int = 2048, rounds: int = 9, dtype: str = "float32") -> float:
    """What a device's own product of matrices reaches: its best of some rounds, in GFLOP/s."""
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    return 2e-9 * size**3 / in_turn({"": lambda: product(a)}, rounds)[""].low


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def publish(name: str, title: str, rows: list[dict]) -> None:
    """Prints rows, all with the same keys, as a table, and adds them to NAME.json in the
    folder for results, under their title."""
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == next(iter(rows[0])) else "right")
    for row in rows:
        table.add_row(*(_shown(x) for x in row.values()))
    Console(width=140).print(table)
    path = Path(OUT.value, f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    machine = {
        "machine": f"{platform.machine()}, {jax.default_backend()}",
        "jax": jax.__version__,
    }
    plain = [{key: _plain(x) for key, x in row.items()} for row in rows]
    text = json.dumps(before | machine | {title: plain}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _shown(x) -> str:
    if isinstance(x, float):
        return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"
    return str(x)


def _plain(x):
    return x._asdict() if isinstance(x, Spread) else x
