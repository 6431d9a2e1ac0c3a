"""The quality of each checkpoint of a text classifier."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import LabelledTexts
from mocanet_jax.tasks.text.sst2 import Sst2Task
from mocanet_jax.train.checkpoints.checkpoint import saved_run
from mocanet_jax.train.checkpoints.inspection import is_deleted
from mocanet_jax.train.checkpoints.selection import Standing
from mocanet_jax.train.config.settings import budget_target


class Candidate(NamedTuple):
    """One checkpoint. accuracy, ece, usage: on the validation split. within_budget: whether its
    config allows this usage. sentences: accuracy on the quality sentences, None of a classifier
    whose labels are not theirs. target: the accuracy that its config requests.
    """

    workdir: Path
    step: int
    accuracy: float
    ece: float
    usage: float
    held_out_loss: float
    within_budget: bool
    sentences: float | None
    target: float


def best(found: list[Candidate]) -> Candidate:
    """The one to use: of lowest held-out loss among those within their budget, or among all
    where none is. found: at least one."""
    return min(found, key=lambda c: (not c.within_budget, c.held_out_loss, -c.step))


def candidates(workdir: Path, sentences: LabelledTexts) -> list[Candidate]:
    """Every checkpoint in `workdir`, oldest first. Raises UserError where there is none."""
    with saved_run(workdir) as checkpoints:
        steps = checkpoints.steps()
    return [found for step in steps if (found := _candidate(workdir, step, sentences))]


def _candidate(workdir, step, sentences):
    """None for a checkpoint that a training run has deleted meanwhile."""
    try:
        predictor = TextPredictor(workdir, step)
    except (UserError, OSError):
        if is_deleted(workdir, step):
            return None
        raise
    loss, usage = predictor.validation["held_out_loss"], predictor.validation["usage"]
    return Candidate(
        workdir,
        step,
        predictor.validation["accuracy"],
        predictor.validation["ece"],
        usage,
        loss,
        Standing(loss, usage, budget_target(predictor.config)).within_budget,
        _accuracy(predictor, sentences),
        predictor.config.quality.target_accuracy,
    )


def _accuracy(predictor, sentences):
    """None of a classifier of something else."""
    if predictor.classes != Sst2Task.classes:
        return None
    called = [predictor.predict(text).predicted for text in sentences.texts]
    return float(np.mean(np.array(called) == sentences.labels))
