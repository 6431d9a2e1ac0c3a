"""A predictor whose answers are known beforehand."""

from types import SimpleNamespace

import numpy as np

from mocanet_jax.inference.predictor import Explanation, Prediction
from mocanet_jax.tasks.text.tokenizer import tokenize

CLASSES = ("negative", "positive")
READ = 50
KNOWN = {"a": 0.5, "good": 0.95, "fine": 0.8, "film": 0.5, "dull": 0.1}


def prediction(positive=0.95, words=("good",), known=None, cut=0):
    known = [True] * len(words) if known is None else known
    return Prediction(list(words), cut, known, np.array([1 - positive, positive]))


class Fake:
    """Answers as TextPredictor does: the first word decides, the rest is shown."""

    classes, step, temperature = CLASSES, 1800, 1.25
    validation: dict = {"accuracy": 0.8432, "ece": 0.0213}  # noqa: RUF012
    task = SimpleNamespace(
        vocabulary=SimpleNamespace(words=tuple(KNOWN)),
        answer_name="sentiment",
        texts_in=lambda path: None,
    )

    def predict(self, text):
        words = tokenize(text)
        if not words:
            return None
        read = words[:READ]
        known = [word in KNOWN for word in read]
        return prediction(KNOWN.get(words[0], 0.6), read, known, len(words) - len(read))

    def explain(self, text):
        predicted = self.predict(text)
        count = len(predicted.words)
        influence = np.linspace(0.3, -0.1, count)
        experts = np.stack([np.full((count, 1), 3), np.arange(count)[:, None]])
        return Explanation(predicted, influence, experts, 7 + experts, None, None)
