"""The table of checkpoints of text classifiers."""

from rich.console import Console
from rich.markup import escape

from mocanet_jax.inference.quality import Candidate
from mocanet_jax.report.terminal import say, table


def show(console: Console, compared: list[Candidate], best: Candidate) -> None:
    """One row a checkpoint, and which to use."""
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
    held = (
        "within its budget" if best.within_budget else "though no checkpoint is within budget"
    )
    say(console, f"use {best.workdir}, step {best.step}, {held}")
