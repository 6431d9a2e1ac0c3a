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
    whose labels are not theirs. target: the accuracy that its config requests. data: what it
    was trained on, to read. judged_by: equal where held-out texts are, whose losses can be
    compared.
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
    data: str
    judged_by: str


def comparable(found: list[Candidate]) -> list[list[Candidate]]:
    """Groups whose held-out losses are of the same texts, in the order of their first."""
    names = dict.fromkeys(c.judged_by for c in found)
    return [[c for c in found if c.judged_by == name] for name in names]


def best(found: list[Candidate]) -> Candidate:
    """The one to use: of lowest held-out loss among those within their budget, or among all
    where none is. found: at least one."""
    return min(found, key=lambda c: (not c.within_budget, c.held_out_loss, -c.step))


def candidates(workdir: Path, sentences: LabelledTexts) -> list[Candidate]:
    """Every checkpoint in `workdir`, oldest first. Raises UserError where there is none."""
    with saved_run(workdir) as checkpoints:
        steps = checkpoints.steps()
        task = checkpoints.record(checkpoints.best_step()).task
    data = task.get("data", {})
    return [found for step in steps if (found := _candidate(workdir, step, sentences, data))]


def _candidate(workdir, step, sentences, data):
    """data: fingerprints of the texts by split. None for a checkpoint that a training run has
    deleted meanwhile."""
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
        _trained_on(predictor.config, data),
        data.get("held-out", {}).get("sha256", str(workdir)),
    )


def _trained_on(config, data):
    """The number of texts, and where they came from."""
    texts = data.get("training", {}).get("texts")
    count = "texts" if texts is None else f"{texts:,} texts"
    soft = config.data.get("soft_labels", "")
    further = f", soft labels of {soft} among them" if soft else ""
    earlier = config.train.get("init_from", "")
    start = f", from the parameters of {earlier}" if earlier else ""
    place = config.data.get("path", "") or "TensorFlow Datasets"
    return f"{config.task}, {count} of {place}{further}{start}"


def _accuracy(predictor, sentences):
    """None of a classifier of something else."""
    if predictor.classes != Sst2Task.classes:
        return None
    called = [predictor.predict(text).predicted for text in sentences.texts]
    return float(np.mean(np.array(called) == sentences.labels))
