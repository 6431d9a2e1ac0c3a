"""Results of a final evaluation, and the entries that they have in a run's summary.

Axes: N texts, C classes.
"""

from typing import NamedTuple

import numpy as np

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate.calibration import ClassScores, Reliability
from mocanet_jax.tasks.text.labelled import MAX_WORDS, LabelledTexts

LENGTH_STEPS, MOST_GROUPS = (5, 10, 25, 50, 100, 250), 12
"""Widths of groups of lengths in tokens; the first that makes no more groups is used."""

WORST_MISTAKES = 50


class SequenceResults(NamedTuple):
    """overall: metrics over the task's range of lengths.
    by_length: metrics at single lengths, in rising order.
    """

    overall: dict[str, float]
    by_length: dict[int, dict[str, float]]

    def entries(self) -> dict:
        """The `eval/` entries of a summary, in values of JSON."""
        entries = {f"eval/{name}": value for name, value in self.overall.items()}
        for metric in ("accuracy", "exact_match"):
            entries[f"eval/{metric}_by_length"] = {
                str(length): m[metric] for length, m in self.by_length.items()
            }
        return entries


class LanguageResults(NamedTuple):
    """splits: metrics of "valid" and, where there is one, "test". context: the fewest and the
    most tokens before a predicted one that the model can see, None for all that there are."""

    splits: dict[str, dict[str, float]]
    context: tuple[int, int] | None

    def entries(self) -> dict:
        """The `eval/` entries of a summary, of the validation split, and `test/`, of the test
        split, in values of JSON."""
        names = {"valid": "eval", "test": "test"}
        entries = {
            f"{names[split]}/{name}": value
            for split, metrics in self.splits.items()
            for name, value in metrics.items()
        }
        return entries | {"eval/context": self.context and list(self.context)}


class Mistake(NamedTuple):
    """confidence: in the wrong class."""

    text: str
    label: int
    predicted: int
    confidence: float


class TextResults(NamedTuple):
    """classes: names of the C classes.
    metrics: accuracy, f1 (of class 1 of two, else the mean over classes), macro_f1,
        majority_share, the accuracy of always answering the commonest class, ece, loss, usage,
        texts, and texts_cut, how many have more than MAX_WORDS words.
    by_length: accuracy and number of texts by their longest number of tokens, in
    steps of `length_step`. confusion: int [C, C], labels by predictions.
    worst: the mistakes of highest confidence, worst first.
    test: of the test split; None where there is none, and of those results.
    """

    classes: tuple[str, ...]
    metrics: dict[str, float]
    by_length: dict[int, tuple[float, int]]
    confusion: np.ndarray
    reliability: Reliability
    worst: list[Mistake]
    length_step: int = LENGTH_STEPS[0]
    test: "TextResults | None" = None

    @property
    def majority(self) -> str:
        """The commonest class among these texts."""
        return self.classes[int(self.confusion.sum(axis=1).argmax())]

    def entries(self) -> dict:
        """The `eval/` entries of a summary, and `test/`, of the test split, in values of
        JSON."""
        entries = {f"eval/{name}": value for name, value in self.metrics.items()}
        for place, name in enumerate(("accuracy", "texts")):
            entries[f"eval/{name}_by_length"] = {
                str(end): values[place] for end, values in self.by_length.items()
            }
        entries["eval/confusion"] = {
            label: dict(zip(self.classes, row.tolist(), strict=True))
            for label, row in zip(self.classes, self.confusion, strict=True)
        }
        entries["eval/by_class"] = {
            name: dict(zip(ClassScores._fields, values, strict=True))
            for name, *values in zip(
                self.classes,
                *(part.tolist() for part in calibration.class_scores(self.confusion)),
                strict=True,
            )
        }
        entries["eval/worst_mistakes"] = [
            {
                "text": mistake.text,
                "label": self.classes[mistake.label],
                "predicted": self.classes[mistake.predicted],
                "confidence": round(mistake.confidence, 4),
            }
            for mistake in self.worst
        ]
        if self.test is not None:
            of_test = self.test.entries().items()
            entries |= {name.replace("eval/", "test/", 1): value for name, value in of_test}
        return entries


def text_results(
    texts: LabelledTexts,
    log_p: np.ndarray,
    usage: dict[str, float],
    classes: tuple[str, ...],
) -> TextResults:
    """log_p: logarithms of class probabilities, finite, float [N, C]. usage: shares by name."""
    p = np.exp(log_p)
    labels, predicted = texts.labels, p.argmax(axis=-1)
    correct = predicted == labels
    counts = calibration.confusion(predicted, labels, p.shape[1])
    scores = calibration.f1(counts)
    bins = calibration.reliability(p, labels)
    metrics = {
        "accuracy": float(correct.mean()),
        "f1": float(scores[1] if len(scores) == 2 else scores.mean()),
        "macro_f1": calibration.macro_f1(counts),
        "majority_share": float(counts.sum(axis=1).max() / len(labels)),
        "ece": bins.error(),
        "loss": calibration.mean_loss(log_p, labels),
        **usage,
        "texts": len(texts),
        "texts_cut": sum(len(words) > MAX_WORDS for words in texts.tokens),
    }
    read = np.array([min(len(words), MAX_WORDS) for words in texts.tokens])
    fitting = (step for step in LENGTH_STEPS if read.max() <= MOST_GROUPS * step)
    length_step = next(fitting, LENGTH_STEPS[-1])
    ends = -(-read // length_step) * length_step
    by_length = {
        int(end): (float(correct[ends == end].mean()), int((ends == end).sum()))
        for end in np.unique(ends)
    }
    wrong = np.flatnonzero(~correct)
    worst = wrong[np.argsort(-p[wrong, predicted[wrong]], kind="stable")][:WORST_MISTAKES]
    mistakes = [
        Mistake(texts.texts[i], int(labels[i]), int(predicted[i]), float(p[i, predicted[i]]))
        for i in worst
    ]
    return TextResults(classes, metrics, by_length, counts, bins, mistakes, length_step)
