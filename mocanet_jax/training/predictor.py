"""A trained classifier, ready for text as people type it.

Axes: B batch, T time, L words of one text, C classes, E experts, S slots.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.errors import UserError
from mocanet_jax.tasks.text import TextTask
from mocanet_jax.tasks.tokenizer import tokenize
from mocanet_jax.training.build import build_model, build_task
from mocanet_jax.training.calibration import probabilities
from mocanet_jax.training.checkpoint import Checkpoints, read_config
from mocanet_jax.training.step import initial_params
from mocanet_jax.training.text_evaluator import fitting_length

MAX_WORDS = 1024
"""Of one text; what comes after is not read."""


AT_ONCE = 64
"""Words left out in one batch of an explanation."""


class Prediction(NamedTuple):
    """words: as the model reads them, at most MAX_WORDS. cut: words that were not read.
    known: bool [L], whether training met the word. probabilities: calibrated, float [C].
    """

    words: list[str]
    cut: int
    known: list[bool]
    probabilities: np.ndarray

    @property
    def predicted(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def confidence(self) -> float:
        return float(self.probabilities.max())


class Explanation(NamedTuple):
    """What moved one decision, for each of L words.

    influence: float [L], the probability of the predicted class minus what it is when the
        word is left out; positive where the word speaks for the decision.
    experts: int [layers · directions, L, K], the experts each word used, or None; of each
        layer first the reading forwards, then that from the end.
    slots: int [layers · directions, L, H], the slot that each memory head wrote most
        strongly at the word, or None.
    """

    prediction: Prediction
    influence: np.ndarray
    experts: np.ndarray | None
    slots: np.ndarray | None


class TextPredictor:
    """The best checkpoint of a working directory, or the one of `step`.

    classes: names of the C classes. temperature: that probabilities are calibrated with.
    config: what the run was trained with.
    Raises UserError where there is no such checkpoint or it is not a text classifier.
    """

    def __init__(self, workdir: Path, step: int | None = None):
        saved = read_config(workdir)
        if saved is None or not (workdir / "checkpoints").is_dir():
            raise UserError(f"no trained model in {workdir}: train first, or pass its --workdir")
        with Checkpoints(workdir) as checkpoints:
            step = checkpoints.best_step() if step is None else step
            if step is None:
                raise UserError(f"no checkpoint in {workdir}/checkpoints yet: train first")
            progress = checkpoints.progress(step)
            self.config = ConfigDict(progress.config)
            task = build_task(self.config, workdir)
            if not isinstance(task, TextTask):
                raise UserError(f"{workdir} holds a {self.config.task} run, not a classifier")
            self.model = build_model(self.config, task)
            like = jax.eval_shape(partial(initial_params, self.model, task))
            self.params = checkpoints.restore_params(step, like)
        self.step, self.classes, self.task = step, task.classes, task
        self.validation = progress.validation
        self.temperature = progress.validation["temperature"]
        self._run = jax.jit(lambda params, *batch: self.model.apply({"params": params}, *batch))

    def predict(self, text: str) -> Prediction | None:
        """None for a text without a word."""
        words = tokenize(text)
        read, cut = words[:MAX_WORDS], max(0, len(words) - MAX_WORDS)
        if not read:
            return None
        tokens, mask = self._pad(read)
        logits, _, _ = self._run(self.params, tokens, None, mask)
        known = [word in self.task.vocabulary for word in read]
        return Prediction(read, cut, known, probabilities(logits, self.temperature)[0])

    def explain(self, text: str) -> Explanation | None:
        """Leaves out each word in turn; None for a text without a word."""
        prediction = self.predict(text)
        if prediction is None:
            return None
        count = len(prediction.words)
        tokens, mask = self._pad(prediction.words)
        _, _, aux = self._run(self.params, tokens, None, mask)
        influence = np.zeros(count)
        whole = prediction.probabilities[prediction.predicted]
        for start in range(0, count, AT_ONCE):
            without = np.repeat(mask, AT_ONCE, axis=0)
            left_out = np.arange(start, min(start + AT_ONCE, count))
            without[left_out - start, left_out] = False
            logits, _, _ = self._run(
                self.params, np.repeat(tokens, AT_ONCE, axis=0), None, without
            )
            p = probabilities(logits[: len(left_out)], self.temperature)
            influence[left_out] = whole - p[:, prediction.predicted]
        if count == 1:  # nothing is left to compare with but not knowing
            influence[:] = whole - 1 / len(self.classes)
        return Explanation(prediction, influence, *self._engaged(aux, count))

    def _pad(self, words):
        return self.task.pad([words], fitting_length(len(words), self.task.longest))

    def _engaged(self, aux, count):
        """Experts and most strongly written slots, in the order of the words."""
        experts, slots = [], []
        for layer in jax.device_get(aux.layers):
            if layer.experts is not None:
                experts += _directions(layer.experts.indices, count)
            if layer.route.write is not None:
                address = layer.route.write
                strongest = np.argmax(address.weights, axis=-1)[..., None]
                chosen = np.take_along_axis(address.indices, strongest, axis=-1)
                slots += _directions(chosen[..., 0], count)
        stacked = lambda parts: np.stack(parts) if parts else None
        return stacked(experts), stacked(slots)


def _directions(values, count):
    """[directions, T, …] of one text as one array of [L, …] a direction, in word order."""
    return [values[0, :count], *(values[1:, ::-1][:, :count])]
