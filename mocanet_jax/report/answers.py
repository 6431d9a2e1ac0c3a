"""What the chat says of a text: lines to read, or JSON.

Nothing that a person typed is repeated raw: what could steer a terminal is shown escaped.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from mocanet_jax.inference.predictor import Explanation, Prediction, TextPredictor

LEVELS = {"high": 0.9, "medium": 0.7, "low": 0.0}
"""The lowest confidence of each level."""

NO_WORD = "there is no word in it"

SHOWN_WORDS = 40
"""Rows of an explanation; of a longer text those that moved the decision most."""

WORD_WIDTH, TEXT_WIDTH, BAR_WIDTH = 24, 60, 10
LISTED_UNKNOWN = 8

NAME_WIDTH, LISTED_CLASSES = 32, 5
"""Characters of the name of a class, and classes in one line."""

HELP = """\
Type a text and press Enter: it is called {classes}, with a confidence that is
high from {high:.0%}, medium from {medium:.0%} and low below. Or type one of

  explain [TEXT]  which words moved the decision on TEXT, or on the last text, and which
                  experts and memory slots each word used
  batch FILE      judges every line of FILE; of a table, TSV or CSV, whose header line names
                  a column sentence, or that of the texts in training, that column
  stats           the model, and the answers given so far
  help            these lines
  quit            ends, as exit, Ctrl-D and Ctrl-C do

A line that starts with a backslash is always a text: \\help is the text "help"."""


def level(confidence: float) -> str:
    return next(name for name, lowest in LEVELS.items() if confidence >= lowest)


def shown(text: str, width: int | None = None) -> str:
    """`text` on one line with everything unprintable escaped, cut to `width` characters."""
    escape = lambda char: char.encode("unicode_escape").decode()
    line = "".join(char if char.isprintable() else escape(char) for char in text[:width])
    if width is None or max(len(text), len(line)) <= width:
        return line
    return line[: width - 3] + "..."


def lines(prediction: Prediction, classes: Sequence[str]) -> Iterator[str]:
    """The answer in one line, and a line for each thing to know about it."""
    name, shares = called(prediction, classes), _shares(prediction.probabilities, classes)
    yield f"{name}, {level(prediction.confidence)} confidence ({shares})"
    unknown = unknown_words(prediction)
    if unknown:
        listed = ", ".join(shown(word, WORD_WIDTH) for word in unknown[:LISTED_UNKNOWN])
        more = len(unknown) - LISTED_UNKNOWN
        yield f"  not met in training: {listed}" + (f" and {more:,} more" if more > 0 else "")
    if prediction.cut:
        yield (
            f"  only the first {len(prediction.words):,} words were read, "
            f"{prediction.cut:,} were not"
        )


def called(prediction: Prediction, classes: Sequence[str]) -> str:
    """The name of the predicted class, as it is shown."""
    return shown(classes[prediction.predicted], NAME_WIDTH)


def _shares(p, classes):
    """Probabilities by name: of two classes in their order, of more the highest first."""
    places = range(len(classes))
    if len(classes) > 2:
        places = sorted(places, key=lambda i: -p[i])[:LISTED_CLASSES]
    parts = [f"{shown(classes[i], NAME_WIDTH)} {p[i]:.1%}" for i in places]
    if more := len(classes) - len(parts):
        parts.append(f"{more} more {1 - sum(p[i] for i in places):.1%}")
    return ", ".join(parts)


def batch_line(text: str, prediction: Prediction, classes: Sequence[str]) -> str:
    """The answer and the beginning of the text, in columns."""
    name = called(prediction, classes)
    width = max(len(shown(c, NAME_WIDTH)) for c in classes)
    confidence = prediction.confidence
    return (
        f"{name:{width}}  {confidence:6.1%}  {level(confidence):6}  {shown(text, TEXT_WIDTH)}"
    )


def as_json(
    text: str, prediction: Prediction | None, classes: Sequence[str], key: str = "sentiment"
) -> str:
    """One line, ASCII only. key: of the predicted class."""
    if prediction is None:
        return json.dumps({"text": text, key: None, "error": NO_WORD})
    p = [round(float(p), 6) for p in prediction.probabilities]
    answer = {
        "text": text,
        key: classes[prediction.predicted],
        "confidence": p[prediction.predicted],
        "level": level(prediction.confidence),
        "probabilities": dict(zip(classes, p, strict=True)),
        "unknown_words": unknown_words(prediction),
        "cut_words": prediction.cut,
    }
    return json.dumps(answer)


def unknown_words(prediction: Prediction) -> list[str]:
    """Each once, in the order of the text."""
    pairs = zip(prediction.words, prediction.known, strict=True)
    return list(dict.fromkeys(word for word, known in pairs if not known))


def explanation(explained: Explanation, classes: Sequence[str]) -> Iterator[str]:
    """A table of words, and how to read it."""
    prediction, influence = explained.prediction, explained.influence
    strongest = sorted(range(len(influence)), key=lambda i: -abs(influence[i]))[:SHOWN_WORDS]
    rows = sorted(strongest)
    scale = max(abs(influence[strongest[0]]), 1e-9)
    columns = {
        "word": [shown(prediction.words[i], WORD_WIDTH) for i in rows],
        "points": [f"{100 * influence[i]:+6.1f}" for i in rows],
        "": [_bar(influence[i] / scale) for i in rows],
    }
    for name, engaged in (("experts", explained.experts), ("slots", explained.slots)):
        if engaged is not None:
            columns[name] = [_engaged(engaged[:, i]) for i in rows]
    yield from _table(columns)
    if len(rows) < len(influence):
        yield f"The {len(rows)} of {len(influence):,} words that moved the decision most."
    name = called(prediction, classes)
    yield f"points: what the probability of {name} loses when the word is masked."
    if len(columns) > 3:
        yield "experts, slots: used at the word, one entry a layer, member and direction;"
        yield "of slots the one that was written most strongly; - where nothing was used."


def usage(classes: Sequence[str]) -> list[str]:
    names = [shown(name, NAME_WIDTH) for name in classes]
    if len(names) <= 2:
        return HELP.format(classes=" or ".join(names), **LEVELS).splitlines()
    few = f"one of {len(names)} labels"
    return [*HELP.format(classes=few, **LEVELS).splitlines(), "", f"labels: {', '.join(names)}"]


def model(predictor: TextPredictor) -> Iterator[str]:
    """Which checkpoint answers and how good it is."""
    validation = predictor.validation
    yield f"checkpoint           step {predictor.step:,}"
    yield f"validation accuracy  {validation['accuracy']:.2%}"
    yield (
        f"calibration          expected error {validation['ece']:.4f}, "
        f"temperature {predictor.temperature:.3f}"
    )
    yield f"vocabulary           {len(predictor.task.vocabulary.words):,} words"


def counted(counts: Counter[str], classes: Sequence[str]) -> str:
    """Of more classes than are listed, those that were met most often."""
    met = classes
    if len(classes) > LISTED_CLASSES:
        met = [name for name, _ in counts.most_common(LISTED_CLASSES)]
    by_class = ", ".join(f"{counts[name]:,} {shown(name, NAME_WIDTH)}" for name in met)
    if more := counts.total() - sum(counts[name] for name in met):
        by_class += f", {more:,} of other labels"
    plural = "" if counts.total() == 1 else "s"
    return f"{counts.total():,} text{plural}: {by_class}"


def timing(seconds: list[float]) -> str:
    """Mean and 95th percentile (nearest rank), in words."""
    if not seconds:
        return "no answer yet"
    p95 = sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
    mean = sum(seconds) / len(seconds)
    return f"{1e3 * mean:.1f} ms a text, 95 % within {1e3 * p95:.1f} ms"


def _bar(share):
    return ("+" if share > 0 else "-") * round(BAR_WIDTH * abs(share))


def _engaged(places):
    """places: int [directions · layers, K]."""
    used = lambda place: "+".join(str(i) for i in place if i >= 0) or "-"
    return " ".join(map(used, places))


def _table(columns):
    widths = [max(map(cell_len, (name, *cells))) for name, cells in columns.items()]
    for row in zip(*([name, *cells] for name, cells in columns.items()), strict=True):
        yield "  ".join(map(set_cell_size, row, widths)).rstrip()
