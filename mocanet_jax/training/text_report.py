"""The final evaluation of a text task, as a table, pictures and JSON.

Axes: N texts, C classes.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from mocanet_jax.tasks.labelled import LabelledTexts
from mocanet_jax.training import calibration, text_pictures
from mocanet_jax.training.calibration import Reliability
from mocanet_jax.training.terminal import table

LENGTH_STEP = 5
WORST_MISTAKES = 50
SHOWN_MISTAKES = 5


class Mistake(NamedTuple):
    """confidence: in the wrong class."""

    text: str
    label: int
    predicted: int
    confidence: float


class Results(NamedTuple):
    """metrics: accuracy, f1 (of class 1 of two, else the mean over classes), ece, loss,
    usage. by_length: accuracy and number of texts by their longest number of tokens, in
    steps of LENGTH_STEP. confusion: int [C, C], labels by predictions.
    worst: the mistakes of highest confidence, worst first.
    """

    metrics: dict[str, float]
    by_length: dict[int, tuple[float, int]]
    confusion: np.ndarray
    reliability: Reliability
    worst: list[Mistake]


def results(texts: LabelledTexts, log_p: np.ndarray, usage: dict[str, float]) -> Results:
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
        "ece": bins.error(),
        "loss": calibration.mean_loss(log_p, labels),
        **usage,
        "texts": len(texts),
    }
    ends = -(-np.array([len(words) for words in texts.tokens]) // LENGTH_STEP) * LENGTH_STEP
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
    return Results(metrics, by_length, counts, bins, mistakes)


def flatten(results: Results, classes: tuple[str, ...]) -> dict:
    """The `eval/` entries of a summary."""
    flat = {f"eval/{name}": value for name, value in results.metrics.items()}
    for place, name in enumerate(("accuracy", "texts")):
        flat[f"eval/{name}_by_length"] = {
            str(end): values[place] for end, values in results.by_length.items()
        }
    flat["eval/confusion"] = {
        label: dict(zip(classes, row.tolist(), strict=True))
        for label, row in zip(classes, results.confusion, strict=True)
    }
    flat["eval/worst_mistakes"] = [
        {
            "text": mistake.text,
            "label": classes[mistake.label],
            "predicted": classes[mistake.predicted],
            "confidence": round(mistake.confidence, 4),
        }
        for mistake in results.worst
    ]
    return flat


def draw(workdir: Path, results: Results) -> None:
    """reliability.png and accuracy_by_length.png."""
    text_pictures.reliability(results.reliability, results.metrics, workdir / "reliability.png")
    text_pictures.accuracy_by_length(
        results.by_length, LENGTH_STEP, workdir / "accuracy_by_length.png"
    )


def show(console: Console, results: Results, classes: tuple[str, ...]) -> None:
    """Metrics, confusion, accuracy by length, and the worst mistakes."""
    m = results.metrics
    console.print(
        f"{m['texts']} texts: accuracy {m['accuracy']:.2%}, F1 {m['f1']:.4f}, expected "
        f"calibration error {m['ece']:.4f}, loss {m['loss']:.4f}, usage {m['usage']:.2%}",
        highlight=False,
    )
    grid = table("", *(f"called {name}" for name in classes))
    for name, row in zip(classes, results.confusion, strict=True):
        grid.add_row(name, *map(str, row))
    console.print(grid)
    grid = table("tokens", "accuracy", "texts")
    for end, (accuracy, count) in results.by_length.items():
        grid.add_row(f"{end - LENGTH_STEP + 1} to {end}", f"{accuracy:.2%}", str(count))
    console.print(grid)
    console.print("worst mistakes:")
    for mistake in results.worst[:SHOWN_MISTAKES]:
        console.print(
            f"  called {classes[mistake.predicted]} ({mistake.confidence:.1%}): {mistake.text}",
            highlight=False,
            markup=False,
        )
