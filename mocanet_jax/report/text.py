"""The final evaluation of a text task, as tables and pictures."""

from pathlib import Path

from rich.console import Console

from mocanet_jax.evaluate.results import LENGTH_STEP, TextResults
from mocanet_jax.report import text_pictures
from mocanet_jax.report.answers import shown
from mocanet_jax.report.terminal import say, table
from mocanet_jax.tasks.text.labelled import MAX_WORDS

SHOWN_MISTAKES, SHOWN_CHARACTERS = 5, 300


def draw(workdir: Path, results: TextResults) -> None:
    """reliability.png and accuracy_by_length.png."""
    text_pictures.reliability(results.reliability, results.metrics, workdir / "reliability.png")
    text_pictures.accuracy_by_length(
        results.by_length, LENGTH_STEP, workdir / "accuracy_by_length.png"
    )


def show(console: Console, results: TextResults) -> None:
    """Metrics, confusion, accuracy by length, and the worst mistakes."""
    m, classes = results.metrics, results.classes
    console.print(
        f"{m['texts']} texts: accuracy {m['accuracy']:.2%}, F1 {m['f1']:.4f}, expected "
        f"calibration error {m['ece']:.4f}, loss {m['loss']:.4f}, usage {m['usage']:.2%}",
        highlight=False,
    )
    if m["texts_cut"]:
        say(console, f"of {m['texts_cut']:,} texts the first {MAX_WORDS:,} words were read")
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
        called = f"{classes[mistake.predicted]} ({mistake.confidence:.1%})"
        say(console, f"  called {called}: {shown(mistake.text, SHOWN_CHARACTERS)}")
