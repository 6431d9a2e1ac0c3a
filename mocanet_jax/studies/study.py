"""A study: variants of one config, each trained with several seeds, and what they reached.

Every cell, one variant with one seed, is a training run in a process of its own: a
study that is stopped goes on where it was, and a cell that fails takes no other with it.
"""

import math
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from mocanet_jax.runtime.storage.files import read_json
from mocanet_jax.studies.variants import CONTROL, Variant
from mocanet_jax.train.checkpoints.workdir import differing_fields


class Score(NamedTuple):
    """What runs are compared by. entry: of result.json, of which `scale` times is in the unit,
    "%" or none. digits: after the point. least_range: of an axis, in the unit."""

    name: str
    entry: str
    label: str
    unit: str
    scale: float
    digits: int
    least_range: float

    @property
    def heading(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def text(self, value: float, sign: str = "") -> str:
        """In its unit. sign: "+" shows it of positive numbers, too."""
        return f"{self.scale * value:{sign}.{self.digits}f}"


BITS = Score(
    "bits_per_character", "eval/bits_per_character", "bits per character", "", 1.0, 4, 0.02
)
ACCURACY = Score("accuracy", "eval/accuracy", "accuracy", "%", 100.0, 2, 2.0)
EXACT_MATCH = Score("exact_match", "eval/exact_match", "exact match", "%", 100.0, 2, 2.0)


def score_of(result: dict) -> Score:
    """Bits per character of a language model, else accuracy."""
    return BITS if BITS.entry in result else ACCURACY


MEASURES = {
    **{score.name: score.entry for score in (BITS, ACCURACY, EXACT_MATCH)},
    "parameters": "parameters",
    "flops_per_token": "eval/flops_per_token",
    "usage": "eval/usage",
    "usage_experts": "eval/usage_experts",
    "usage_writes": "eval/usage_writes",
    "usage_reads": "eval/usage_reads",
    "steps": "trained_steps",
    "evaluated_step": "evaluated_step",
    "within_budget": "within_budget",
    "wall_seconds": "wall_seconds",
}
"""What a study reports of its runs, and the entry of result.json that holds it."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between SIGINT and SIGKILL to a process


class Cell(NamedTuple):
    """One run of a study."""

    variant: Variant
    seed: int
    workdir: Path

    @property
    def config(self) -> dict:
        return self.variant.config | {"seed": self.seed}

    @property
    def minutes(self) -> float:
        """What the run may take; 0 for no limit."""
        return self.config.get("train", {}).get("max_minutes", 0.0)

    @property
    def log(self) -> Path:
        return self.workdir.with_name(f"{self.workdir.name}.log")

    def result(self) -> dict | None:
        """What result.json holds of a finished run of this very config, else None."""
        try:
            config = read_json(self.workdir / "config.json")
            result = read_json(self.workdir / "result.json")
            return None if differing_fields(config, self.config) else result
        except (OSError, ValueError):
            return None


Start = Callable[[Cell], subprocess.Popen]
"""Starts the process of a cell, which writes what it prints to the cell's log."""


class Outcome(NamedTuple):
    """result: what result.json holds, None of a cell that failed. problem: why it did.
    seconds: that the process ran; None where the result was there before.
    """

    cell: Cell
    result: dict | None
    problem: str
    seconds: float | None


class Spread(NamedTuple):
    """values: one a seed, at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)


class Row(NamedTuple):
    """What a variant reached. score: that it is compared by. seeds: of the runs that ended
    well; values are in their order.
    measured: by the names of MEASURES, and milliseconds_per_step; what results do not hold
    is absent. difference: in the score to the control, seed by seed, of seeds that both have.
    """

    variant: Variant
    score: Score
    seeds: tuple[int, ...]
    measured: dict[str, Spread]
    difference: Spread | None


class Findings(NamedTuple):
    """file, overrides: the config of all variants. num_seeds: requested.
    equal: names of ablations that were left out, since they change nothing of this config.
    """

    file: str
    overrides: dict
    num_seeds: int
    rows: list[Row]
    equal: list[str]
    failed: list[Outcome]

    @property
    def score(self) -> Score:
        """Of its rows, of which there is at least one."""
        return self.rows[0].score


def run(
    cells: Iterable[Cell],
    processes: int,
    report: Callable[[int, Outcome], None],
    start: Start,
) -> list[Outcome]:
    """Runs the cells that have no result yet; outcomes in the order in which they ended.

    processes: at a time. report: called with how many ended, and the latest. Whatever
    interrupts this, no process stays behind."""
    waiting, running, outcomes = deque(cells), [], []

    def ended(*outcome):
        outcomes.append(Outcome(*outcome))
        report(len(outcomes), outcomes[-1])

    try:
        while waiting or running:
            while waiting and len(running) < processes:
                cell = waiting.popleft()
                result = cell.result()
                if result is None:
                    running.append((cell, start(cell), time.monotonic()))
                else:
                    ended(cell, result, "", None)
            for entry in [entry for entry in running if entry[1].poll() is not None]:
                running.remove(entry)
                cell, process, started = entry
                result = None if process.returncode else cell.result()
                problem = "" if result else _problem(cell, process.returncode)
                ended(cell, result, problem, time.monotonic() - started)
            if running:
                time.sleep(POLL_SECONDS)
    finally:
        _stop([process for _, process, _ in running])
    return outcomes


def _problem(cell, code):
    """Why a run gave no result, in one line."""
    if code < 0:
        return f"ended by signal {-code}; see {cell.log}"
    lines = cell.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].strip().removeprefix("error: ") if lines else "it printed nothing"
    return last if code else f"it left no result; {last}"


def _stop(processes):
    for process in processes:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def conduct(
    variants: Sequence[Variant],
    seeds: Iterable[int],
    processes: int,
    out: Path,
    say: Callable[[str], None],
    start: Start,
) -> list[Outcome]:
    """Runs every variant with every seed in OUT/NAME/seed_S, with a line as each ends; says how
    long all take, before they start where their minutes are limited, else after the first."""
    cells = [
        Cell(variant, seed, out / variant.name / f"seed_{seed}")
        for seed in seeds
        for variant in variants
    ]
    waiting = [cell for cell in cells if cell.result() is None]
    limits = [cell.minutes for cell in waiting]
    needed = f"; at most about {duration(60 * sum(limits) / processes)}" if all(limits) else ""
    say(f"{len(cells)} runs in {out}, {processes} at a time{needed if waiting else ''}")
    left, measured = len(waiting), False

    def report(count, outcome):
        nonlocal left, measured
        say(f"{count} of {len(cells)}  {_line(outcome)}")
        if outcome.seconds is None:
            return
        left -= 1
        if outcome.result is not None and left and not measured and not all(limits):
            measured = True
            seconds = outcome.seconds * math.ceil(left / processes)
            say(f"about {duration(seconds)} for {left} more, if each takes as long")

    return run(cells, processes, report, start)


def duration(seconds: float) -> str:
    """In words, to the minute from a minute on."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _line(outcome):
    name = f"{outcome.cell.variant.name}  seed {outcome.cell.seed}"
    if outcome.result is None:
        return f"{name}  failed: {outcome.problem}"
    seconds = "there before" if outcome.seconds is None else f"{outcome.seconds:.0f} s"
    score = score_of(outcome.result)
    reached = score.text(outcome.result[score.entry])
    return f"{name}  {score.label} {reached}{score.unit}  {seconds}"


def rows(variants: Iterable[Variant], outcomes: Iterable[Outcome]) -> list[Row]:
    """One row for each variant of which a run ended well."""
    results = {}
    for outcome in outcomes:
        if outcome.result is not None:
            of_variant = results.setdefault(outcome.cell.variant.name, {})
            of_variant[outcome.cell.seed] = outcome.result
    control = results.get(CONTROL, {})
    return [
        _row(variant, results[variant.name], {} if variant.name == CONTROL else control)
        for variant in variants
        if variant.name in results
    ]


def _row(variant, results, control):
    seeds = tuple(sorted(results))
    score = score_of(results[seeds[0]])
    measured = [_measures(results[seed]) for seed in seeds]
    shared = [name for name in measured[0] if all(name in one for one in measured)]
    differences = [
        results[seed][score.entry] - control[seed][score.entry]
        for seed in seeds
        if seed in control
    ]
    return Row(
        variant,
        score,
        seeds,
        {name: Spread(tuple(one[name] for one in measured)) for name in shared},
        Spread(tuple(differences)) if differences else None,
    )


def _measures(result):
    found = {name: result.get(key) for name, key in MEASURES.items()}
    found = {name: value for name, value in found.items() if value is not None}
    step = result["train_seconds"] / max(result["trained_steps"], 1)
    return found | {"milliseconds_per_step": 1000 * step}
