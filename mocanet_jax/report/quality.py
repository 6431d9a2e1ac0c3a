"""The table of checkpoints of text classifiers."""

from rich.console import Console
from rich.markup import escape

from mocanet_jax.inference.quality import Candidate
from mocanet_jax.report.terminal import say, table


def show(console: Console, compared: list[Candidate], chosen: list[Candidate]) -> None:
    """One row a checkpoint, what each run was trained on, and which to use. chosen: one of each
    group that can be compared."""
    grid = table(
        "run",
        "step",
        "validation",
        "calibration error",
        "usage",
        "held-out loss",
        "quality sentences",
    )
    for c in compared:
        numbers = (
            f"{c.accuracy:.2%}",
            f"{c.ece:.4f}",
            f"{c.usage:.2%}",
            f"{c.held_out_loss:.4f}",
        )
        sentences = "-" if c.sentences is None else f"{c.sentences:.2%}"
        grid.add_row(escape(str(c.workdir)), str(c.step), *numbers, sentences)
    console.print(grid)
    for workdir, data in {c.workdir: c.data for c in compared}.items():
        say(console, f"{workdir} was trained on {data}")
    if len(chosen) > 1:
        say(console, "held-out losses are of different texts, and are compared where equal:")
    for best in chosen:
        held = (
            "within its budget"
            if best.within_budget
            else "though no checkpoint is within budget"
        )
        say(console, f"use {best.workdir}, step {best.step}, {held}")
