"""What a run shows: a progress bar on a terminal, plain lines elsewhere, and tables."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mocanet_jax.nn.summary import Cost


class TrainingDisplay:
    """A Monitor (train/monitor.py) on a console: loss, accuracy, usage, speed and time left."""

    def __init__(self, console: Console):
        self._console = console
        self._bar = Progress(
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    @contextmanager
    def training(self, start: int, max_steps: int) -> Iterator[None]:
        self._started, self._start, self._max_steps = time.monotonic(), start, max_steps
        self._task = self._bar.add_task("", total=max_steps, completed=start, status="starting")
        with self._bar:
            yield

    def update(self, step: int, metrics: dict[str, float]) -> None:
        speed = f"{metrics['tokens_per_second'] / 1e3:.1f}k"
        brief = (  # with bar and times, 80 columns
            f"loss {metrics['loss']:.4f} acc {metrics['accuracy']:.1%} "
            f"usage {metrics['usage']:.2f} {speed} tok/s"
        )
        self._bar.update(self._task, completed=step, status=brief)
        if not self._console.is_terminal:
            left = (time.monotonic() - self._started) / max(step - self._start, 1)
            left *= self._max_steps - step
            lengths = f"lengths to {metrics['longest']:.0f}  " if "longest" in metrics else ""
            self.note(
                f"step {step}/{self._max_steps}  loss {metrics['loss']:.4f}  "
                f"accuracy {metrics['accuracy']:.2%}  usage {metrics['usage']:.2f}  "
                f"{lengths}{speed} tokens/s  "
                f"{left:.0f} s left at most"
            )

    def validated(self, step: int, description: str) -> None:
        self.note(f"step {step}  validation: {description}")

    def note(self, line: str) -> None:
        say(self._console, line)

    def costs(self, costs: dict[str, Cost]) -> None:
        show_costs(self._console, costs)


def say(console: Console, line: str) -> None:
    """A line as it stands: paths and texts in it are not markup, and are not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_costs(console: Console, costs: dict[str, Cost]) -> None:
    """Parameters and FLOPs per component."""
    grid = table("component", "parameters", "forward FLOPs per token")
    for name, cost in costs.items():
        grid.add_row(name, f"{cost.parameters:,}", f"{cost.flops:,.0f}")
    parameters, flops = (sum(column) for column in zip(*costs.values(), strict=True))
    grid.add_section()
    grid.add_row("total", f"{parameters:,}", f"{flops:,.0f}")
    console.print(grid)


def table(first: str, *numbers: str) -> Table:
    """A plain table: a first column of names, then numbers."""
    grid = Table(box=box.SIMPLE_HEAD)
    grid.add_column(first)
    for name in numbers:
        grid.add_column(name, justify="right")
    return grid
