"""The final evaluation of a text task, as tables and pictures."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate.results import TextResults
from mocanet_jax.report import text_pictures
from mocanet_jax.report.answers import shown
from mocanet_jax.report.terminal import say, table
from mocanet_jax.tasks.text.labelled import MAX_WORDS

SHOWN_MISTAKES, SHOWN_CHARACTERS = 5, 300

MATRIX_CLASSES, MATRIX_WIDTH = 8, 60
"""Most classes, and most characters of their names, of a confusion matrix that is printed."""

LISTED_CLASSES, LISTED_CONFUSIONS = 30, 8

NAME_WIDTH = 32
"""Characters of the name of a class."""


def draw(workdir: Path, results: TextResults) -> None:
    """reliability.png and accuracy_by_length.png, of the test split where there is one."""
    results = results.test or results
    text_pictures.reliability(results.reliability, results.metrics, workdir / "reliability.png")
    text_pictures.accuracy_by_length(
        results.by_length, results.length_step, workdir / "accuracy_by_length.png"
    )


def show(console: Console, results: TextResults) -> None:
    """Metrics, confusion, scores by class, accuracy by length, and the worst mistakes; of a
    validation split beside a test split the metrics alone."""
    if results.test is not None:
        _metrics(console, results, "validation: ")
        _metrics(console, results.test, "test: ")
        results = results.test
    else:
        _metrics(console, results, "")
    classes = [shown(name, NAME_WIDTH) for name in results.classes]
    if len(classes) <= MATRIX_CLASSES and sum(map(len, classes)) <= MATRIX_WIDTH:
        _matrix(console, results.confusion, classes)
    else:
        _confusions(console, results.confusion, classes)
    _by_class(console, results.confusion, classes)
    grid = table("tokens", "accuracy", "texts")
    for end, (accuracy, count) in results.by_length.items():
        grid.add_row(f"{end - results.length_step + 1} to {end}", f"{accuracy:.2%}", str(count))
    console.print(grid)
    if results.worst:
        console.print("worst mistakes:")
    for mistake in results.worst[:SHOWN_MISTAKES]:
        called = f"{classes[mistake.predicted]} ({mistake.confidence:.1%})"
        say(console, f"  called {called}: {shown(mistake.text, SHOWN_CHARACTERS)}")


def _metrics(console, results, what):
    m = results.metrics
    own = f" F1 {m['f1']:.4f}," if len(results.classes) == 2 else ""
    console.print(
        f"{what}{m['texts']} texts: accuracy {m['accuracy']:.2%},{own} expected "
        f"calibration error {m['ece']:.4f}, loss {m['loss']:.4f}, usage {m['usage']:.2%}",
        highlight=False,
        markup=False,
    )
    majority = (
        f"{shown(results.majority, NAME_WIDTH)}, has a share of {m['majority_share']:.2%}"
    )
    say(console, f"macro-F1 {m['macro_f1']:.4f}; the commonest label, {majority}")
    if m["texts_cut"]:
        say(console, f"of {m['texts_cut']:,} texts the first {MAX_WORDS:,} words were read")


def _matrix(console, confusion, classes):
    grid = table("", *(f"called {escape(name)}" for name in classes))
    for name, row in zip(classes, confusion, strict=True):
        grid.add_row(escape(name), *map(str, row))
    console.print(grid)


def _confusions(console, confusion, classes):
    """The most frequent, where a matrix is too large."""
    wrong = confusion * (1 - np.eye(len(classes), dtype=int))
    places = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_CONFUSIONS]
    pairs = [divmod(int(place), len(classes)) for place in places]
    for label, called in pairs:
        if count := wrong[label, called]:
            say(console, f"  {count} of {classes[label]} called {classes[called]}")


def _by_class(console, confusion, classes):
    """The commonest first where there are too many."""
    scores = calibration.class_scores(confusion)
    chosen = np.argsort(-scores.texts, kind="stable")[:LISTED_CLASSES]
    grid = table("label", "precision", "recall", "F1", "texts")
    for i in sorted(chosen):
        values = (scores.precision[i], scores.recall[i])
        shares = [f"{value:.2%}" for value in values]
        grid.add_row(escape(classes[i]), *shares, f"{scores.f1[i]:.4f}", str(scores.texts[i]))
    console.print(grid)
    if len(chosen) < len(classes):
        more = len(classes) - len(chosen)
        say(console, f"and {more} rarer labels, in result.json under by_class")
