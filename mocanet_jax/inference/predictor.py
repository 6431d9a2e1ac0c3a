"""A trained classifier, ready for text as people type it.

Axes: B batch, T time, L words of one text, C classes, E experts, S slots.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.evaluate.calibration import probabilities
from mocanet_jax.evaluate.spending import Spending, spending
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import MAX_WORDS
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.tasks.text.tokenizer import tokenize
from mocanet_jax.train.restore import restored


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
    slots, read_slots: int [readings, L, H], the slot that each memory head wrote, and read,
        most strongly at the word, −1 where its gate was closed, or None.
    spending: what each word cost, float [L]; means over readings.
    """

    prediction: Prediction
    influence: np.ndarray
    experts: np.ndarray | None
    slots: np.ndarray | None
    read_slots: np.ndarray | None
    spending: Spending


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
        self._rows = jax.jit(self._apply_to_rows)

    def with_multiplier(self, multiplier: float) -> "TextPredictor":
        """The same model at another λ ≥ 0, in logits; it shares the compiled programs."""
        other, place = copy.copy(self), self.trained.multiplier.sharding
        multiplier = jax.device_put(np.float32(multiplier), place)
        other.trained = self.trained._replace(multiplier=multiplier)
        return other

    def _apply(self, trained, tokens, mask):
        logits, _, aux = trained.apply(self.model, tokens, mask=mask)
        return jnp.mean(logits, axis=0), aux.layers

    def _apply_to_rows(self, trained, tokens, masks):
        """Logits [B, C] of one text, [1, T, …], under each of B masks, and the auxiliary
        outputs under the first."""
        rows = len(masks)
        logits, layers = self._apply(trained, jnp.repeat(tokens, rows, axis=0), masks)
        # Arrays of texts are [N, directions · B, T, …]; sums over texts have fewer axes.
        first = lambda x: x[:, ::rows] if x.ndim > 2 else x
        return logits, jax.tree.map(first, layers)

    def predict(self, text: str) -> Prediction | None:
        """None for a text without a word."""
        words, cut = _read(text)
        if not words:
            return None
        return self._prediction(words, cut, self._logits(self.trained, *self._pad(words)))

    def explain(self, text: str) -> Explanation | None:
        """Leaves out each word in turn; None for a text without a word."""
        words, cut = _read(text)
        if not words:
            return None
        tokens, mask = self._pad(words)
        count, at_once = len(words), max(2, MAX_WORDS // mask.shape[1])
        masks = np.repeat(mask, at_once * -(-(1 + count) // at_once), axis=0)
        masks[1 + np.arange(count), np.arange(count)] = False
        logits, layers = [], None
        for start in range(0, len(masks), at_once):
            rows = self._rows(self.trained, tokens, masks[start : start + at_once])
            logits.append(rows[0])
            layers = rows[1] if layers is None else layers
        logits, layers = np.concatenate(logits), jax.device_get(layers)
        prediction = self._prediction(words, cut, logits[:1])
        predicted, whole = prediction.predicted, prediction.confidence
        p = probabilities(logits[1 : 1 + count], self.temperature)
        influence = whole - p[:, predicted]
        if count == 1:  # nothing is left to compare with but not knowing
            influence[:] = whole - 1 / len(self.classes)
        engaged = _engaged(layers, count)
        return Explanation(prediction, influence, *engaged, self._spent(layers, count))

    def spending(self, prediction: Prediction) -> Spending:
        """What the words of a prediction cost, float [L]: means over members, layers and
        directions."""
        layers = jax.device_get(self._layers(self.trained, *self._pad(prediction.words)))
        return self._spent(layers, len(prediction.words))

    def _spent(self, layers, count):
        if self.model.layer is None:  # nothing is engaged by choice
            return Spending(*np.zeros((3, count)))
        spent = spending(self.model.layer, layers)
        return Spending(*(np.mean(_readings(part, count), axis=0) for part in spent))

    def _prediction(self, words, cut, logits):
        known = [word in self.task.vocabulary for word in words]
        return Prediction(words, cut, known, probabilities(logits, self.temperature)[0])

    def _pad(self, words):
        return self.task.pad([words], self.task.fitting_length(len(words)))


def _read(text):
    """The words that are read, and the number of those that are not."""
    words = tokenize(text)
    return words[:MAX_WORDS], max(0, len(words) - MAX_WORDS)


def _engaged(layers, count):
    """Experts and most strongly written and read slots, in the order of the words."""
    experts, written, read = [], [], []
    for layer in layers:
        if layer.experts is not None:
            experts += _readings(
                np.where(layer.experts.computed, layer.experts.indices, -1), count
            )
        if layer.memory is not None:
            memory, traces = layer.memory, layer.memory.traces
            written += _readings(_slots([t.write for t in traces], memory.writes), count)
            read += _readings(_slots([t.read for t in traces], memory.reads), count)
    stacked = lambda parts: np.stack(parts) if parts else None
    return stacked(experts), stacked(written), stacked(read)


def _slots(addresses, gates):
    """The slot that each head accessed most strongly, −1 where its gate was closed."""
    chosen = np.concatenate([_strongest(address) for address in addresses], axis=-1)
    return np.where(gates > 0, chosen, -1)


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
