"""What each checkpoint of a text classifier is worth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape

from mocanet_jax.tasks.labelled import LabelledTexts
from mocanet_jax.training.checkpoint import saved_run, selection_loss
from mocanet_jax.training.predictor import TextPredictor
from mocanet_jax.training.terminal import table


class Candidate(NamedTuple):
    """One checkpoint. accuracy, ece, usage: on the validation split. selection: what the best
    is lowest in. sentences: accuracy on the quality sentences. target: the accuracy that its
    config asks for.
    """

    workdir: Path
    step: int
    accuracy: float
    ece: float
    usage: float
    held_out_loss: float
    selection: float
    sentences: float
    target: float


def candidates(workdir: Path, sentences: LabelledTexts) -> list[Candidate]:
    """Every checkpoint in `workdir`, oldest first. Raises UserError where there is none."""
    with saved_run(workdir) as checkpoints:
        steps = checkpoints.steps()
    return [_candidate(workdir, step, sentences) for step in steps]


def _candidate(workdir, step, sentences):
    predictor = TextPredictor(workdir, step)
    loss, usage = predictor.validation["held_out_loss"], predictor.validation["usage"]
    called = [predictor.predict(text).predicted for text in sentences.texts]
    return Candidate(
        workdir,
        step,
        predictor.validation["accuracy"],
        predictor.validation["ece"],
        usage,
        loss,
        selection_loss(loss, usage, predictor.config.model.target_budget),
        float(np.mean(np.array(called) == sentences.labels)),
        predictor.config.quality.target_accuracy,
    )


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
        grid.add_row(escape(str(c.workdir)), str(c.step), *numbers, f"{c.sentences:.2%}")
    console.print(grid)
    console.print(f"use {best.workdir}, step {best.step}", highlight=False, markup=False)
