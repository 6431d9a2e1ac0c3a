"""A trained classifier, ready for text as people type it.

Axes: B batch, T time, L words of one text, C classes, E experts, S slots.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.evaluate.calibration import probabilities
from mocanet_jax.evaluate.spending import Spending, spending
from mocanet_jax.inference.restore import restored
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import MAX_WORDS
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.tasks.text.tokenizer import tokenize


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
    experts: int [readings, L, K], the experts each word used, −1 for a choice whose gate was
        closed, or None. A reading is one of a layer, of a member, of a direction, in this
        order, forwards first.
    slots: int [readings, L, H], the slot that each memory head wrote most
        strongly at the word, −1 where it did not write, or None.
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
        run = restored(workdir, step)
        self.step, self.config, self.validation = run.step, run.config, run.progress.validation
        self.task, self.model, self.trained = run.task, run.model, run.trained
        if not isinstance(self.task, TextTask):
            raise UserError(f"{workdir} holds a {self.config.task} run, not a classifier")
        self.classes = self.task.classes
        self.temperature = self.validation["temperature"]
        self._logits = jax.jit(lambda *batch: self._apply(*batch)[0])
        self._layers = jax.jit(lambda *batch: self._apply(*batch)[1])

    def _apply(self, trained, tokens, mask):
        logits, _, aux = trained.apply(self.model, tokens, mask=mask)
        return jnp.mean(logits, axis=0), aux.layers

    def predict(self, text: str) -> Prediction | None:
        """None for a text without a word."""
        words = tokenize(text)
        read, cut = words[:MAX_WORDS], max(0, len(words) - MAX_WORDS)
        if not read:
            return None
        tokens, mask = self._pad(read)
        logits = self._logits(self.trained, tokens, mask)
        known = [word in self.task.vocabulary for word in read]
        return Prediction(read, cut, known, probabilities(logits, self.temperature)[0])

    def explain(self, text: str) -> Explanation | None:
        """Leaves out each word in turn; None for a text without a word."""
        prediction = self.predict(text)
        if prediction is None:
            return None
        count, predicted = len(prediction.words), prediction.predicted
        tokens, mask = self._pad(prediction.words)
        layers = self._layers(self.trained, tokens, mask)
        whole = prediction.probabilities[predicted]
        at_once = max(1, MAX_WORDS // mask.shape[1])
        influence = []
        for start in range(0, count, at_once):
            without = np.repeat(mask, at_once, axis=0)
            rows = np.arange(min(at_once, count - start))
            without[rows, start + rows] = False
            logits = self._logits(self.trained, np.repeat(tokens, at_once, axis=0), without)
            p = probabilities(logits[: len(rows)], self.temperature)
            influence.append(whole - p[:, predicted])
        influence = np.concatenate(influence)
        if count == 1:  # nothing is left to compare with but not knowing
            influence[:] = whole - 1 / len(self.classes)
        return Explanation(prediction, influence, *_engaged(layers, count))

    def spending(self, prediction: Prediction) -> Spending:
        """What the words of a prediction cost, float [L]: means over members, layers and
        directions."""
        layers = jax.device_get(self._layers(self.trained, *self._pad(prediction.words)))
        spent = spending(self.model.layer, layers)
        per_word = lambda part: np.mean(_readings(part, len(prediction.words)), axis=0)
        return Spending(*map(per_word, spent))

    def _pad(self, words):
        return self.task.pad([words], self.task.fitting_length(len(words)))


def _engaged(layers, count):
    """Experts and most strongly written slots, in the order of the words."""
    experts, slots = [], []
    for layer in jax.device_get(layers):
        if layer.experts is not None:
            experts += _readings(
                np.where(layer.experts.computed, layer.experts.indices, -1), count
            )
        if layer.memory is not None:
            chosen = [_strongest(trace.write) for trace in layer.memory.traces]
            chosen = np.concatenate(chosen, axis=-1)
            slots += _readings(np.where(layer.memory.writes > 0, chosen, -1), count)
    stacked = lambda parts: np.stack(parts) if parts else None
    return stacked(experts), stacked(slots)


def _strongest(address):
    """The slot of highest weight: [..., A] → [...]."""
    best = np.argmax(address.weights, axis=-1)[..., None]
    return np.take_along_axis(address.indices, best, axis=-1)[..., 0]


def _readings(values, count):
    """[N, directions, T, …] of one text as arrays [L, …] in word order, one a reading."""
    return [
        member[direction, ::-1][:count] if direction else member[direction, :count]
        for member in values
        for direction in range(len(member))
    ]
