"""What each checkpoint of a text classifier is worth."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from mocanet_jax.errors import UserError
from mocanet_jax.tasks.labelled import LabelledTexts
from mocanet_jax.training.checkpoint import Checkpoints, saved_run
from mocanet_jax.training.predictor import TextPredictor
from mocanet_jax.training.terminal import table


class Candidate(NamedTuple):
    """One checkpoint. accuracy, ece: on the validation split. sentences: accuracy on the
    quality sentences. target: the accuracy that its config asks for.
    """

    workdir: Path
    step: int
    accuracy: float
    ece: float
    held_out_loss: float
    sentences: float
    target: float


def candidates(workdir: Path, sentences: LabelledTexts) -> list[Candidate]:
    """Every checkpoint in `workdir`, oldest first. Raises UserError where there is none."""
    return [_candidate(workdir, step, sentences) for step in saved_steps(workdir)]
