"""How right a classifier is, and how well it knows it.

Axes: N texts, C classes. Everything is NumPy, in float64.
"""

from typing import NamedTuple

import numpy as np

BINS = 15
TEMPERATURES = (0.2, 20.0)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """softmax(logits / temperature), [N, C]."""
    return np.exp(log_probabilities(logits, temperature))


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """log softmax(logits / temperature), [N, C]; finite where the probability is 0."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.sum(np.exp(scaled), axis=-1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean over N of −log p(label), in nats."""
    return mean_loss(log_probabilities(logits, temperature), labels)


def mean_loss(log_p: np.ndarray, labels: np.ndarray) -> float:
    """Mean over N of −log_p of the label."""
    return float(-np.mean(log_p[np.arange(len(labels)), labels]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of lowest cross-entropy (Guo et al., 2017, "On Calibration of Modern
    Neural Networks", section 4.2), sought in TEMPERATURES on a logarithmic scale."""
    from scipy import optimize  # slow to import, and not needed to answer

    found = optimize.minimize_scalar(
        lambda log_t: cross_entropy(logits, labels, np.exp(log_t)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(found.x))


class Reliability(NamedTuple):
    """Per bin of confidence, float [BINS], NaN means for empty bins.

    share: of the texts. confidence, accuracy: means over the texts of a bin.
    """

    share: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def error(self) -> float:
        """Expected calibration error: mean distance of accuracy from confidence, weighted by
        share (Naeini et al., 2015)."""
        return float(np.nansum(self.share * np.abs(self.accuracy - self.confidence)))


def reliability(p: np.ndarray, labels: np.ndarray) -> Reliability:
    """Bins of equal width over [0, 1] of the highest probability, upper edges inclusive."""
    confidence, correct = p.max(axis=-1), p.argmax(axis=-1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count / len(labels),
            np.bincount(place, confidence, BINS) / count,
            np.bincount(place, correct, BINS) / count,
        )


def confusion(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """int [C, C]: row is the label, column the prediction."""
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, float [C], from a confusion matrix; 0 for a class never met."""
    hits = np.diag(counts)
    return 2 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)


class ClassScores(NamedTuple):
    """Of each class, float [C]. precision: of the texts called so, the share that is; 0 where
    none was. recall: of the texts that are, the share that is called so; 0 where there are
    none. f1: their harmonic mean. texts: int [C], how many there are.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    texts: np.ndarray


def class_scores(counts: np.ndarray) -> ClassScores:
    """counts: a confusion matrix, int [C, C]."""
    hits, texts, called = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return ClassScores(
        hits / np.maximum(called, 1), hits / np.maximum(texts, 1), f1(counts), texts
    )


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes that some text has or is called."""
    met = counts.sum(axis=0) + counts.sum(axis=1) > 0
    return float(f1(counts)[met].mean())
