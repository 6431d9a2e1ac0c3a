"""Soft labels: texts with the probability of each class, as a teacher gives them (Hinton et
al., 2015, "Distilling the Knowledge in a Neural Network").

{"text": "dull from start to end", "probabilities": {"negative": 0.97, "positive": 0.03}}

An object a line, as `mocanet chat --format=json` writes them; further fields are ignored.

Axes: N texts, C classes.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mocanet_jax.tasks.text.labelled import LabelledTexts
from mocanet_jax.tasks.text.records import read_records
from mocanet_jax.tasks.text.tables import errors_of
from mocanet_jax.tasks.text.tokenizer import tokenize

TEXT, PROBABILITIES = "text", "probabilities"

TOLERANCE = 0.01
"""By which the sum of the probabilities of a text may differ from 1, for want of digits."""


def read_soft(path: Path, classes: Sequence[str], encoding: str = "") -> LabelledTexts:
    """Texts of a file with probabilities of `classes`, float32 [N, C], which sum to 1; a class
    that a line does not name has 0. Texts without a word are left out.

    Raises UserError in one line that names the file and the line.
    """
    records = read_records(path, encoding)
    with errors_of(path):
        missing = [name for name in (TEXT, PROBABILITIES) if name not in records.names]
        if missing:
            raise ValueError(
                f'line 1: there is no "{missing[0]}"; soft labels are a JSON object a line, '
                '{"text": …, "probabilities": {"' + classes[0] + '": 0.9, …}}'
            )
        at = [records.names.index(name) for name in (TEXT, PROBABILITIES)]
        texts, tokens, rows = [], [], []
        for line, fields in records.rows:
            text, shares = (fields[place] for place in at)
            if not isinstance(text, str):
                raise ValueError(f"line {line}: text is no text: {json.dumps(text)[:40]}")
            if words := tokenize(text):
                texts.append(text)
                tokens.append(words)
                rows.append(_probabilities(line, shares, classes))
        if not rows:
            raise ValueError("there is no text in it")
        return LabelledTexts(texts, tokens, np.array(rows, np.float32))


def _probabilities(line, shares, classes):
    """Of one text, in the order of classes."""
    if not isinstance(shares, dict):
        raise ValueError(
            f"line {line}: probabilities are an object, class by class, "
            f"not {json.dumps(shares)[:40]}"
        )
    if unknown := [name for name in shares if name not in classes]:
        raise ValueError(
            f"line {line}: the class {unknown[0][:40]!r} is none of {', '.join(classes)[:60]}"
        )
    row = [shares.get(name, 0.0) for name in classes]
    numbers = all(isinstance(p, int | float) and math.isfinite(p) and p >= 0 for p in row)
    if not numbers or abs(math.fsum(row) - 1) > TOLERANCE:
        raise ValueError(
            f"line {line}: probabilities are numbers from 0 on whose sum is 1, "
            f"not {json.dumps(shares)[:60]}"
        )
    return [p / math.fsum(row) for p in row]


def with_soft(
    hard: LabelledTexts, soft: LabelledTexts, never: set[tuple[str, ...]], smoothing: float
) -> LabelledTexts:
    """Texts to train on: those of `soft`, and those of `hard` that soft does not have.

    never: tokens of texts that are not to be trained on, as those held out. The rest is as for
    `joined`.
    """
    keys = [tuple(words) for words in soft.tokens]
    soft = soft.take(np.array([i for i, key in enumerate(keys) if key not in never], int))
    known = set(keys)
    others = [i for i, words in enumerate(hard.tokens) if tuple(words) not in known]
    return joined(soft, hard.take(np.array(others, int)), smoothing)


def joined(first: LabelledTexts, second: LabelledTexts, smoothing: float) -> LabelledTexts:
    """Both. Where one has probabilities the labels of the other become such, smoothed: the
    share `smoothing` of each is spread evenly over the classes."""
    labels = [first.labels, second.labels]
    soft = [part for part in labels if part.ndim > 1]
    if soft:
        labels = [_smoothed(part, soft[0].shape[1], smoothing) for part in labels]
    return LabelledTexts(
        first.texts + second.texts, first.tokens + second.tokens, np.concatenate(labels)
    )


def _smoothed(labels, num_classes, smoothing):
    if labels.ndim > 1:
        return labels
    one_hot = np.eye(num_classes, dtype=np.float32)[labels]
    return (1 - smoothing) * one_hot + np.float32(smoothing / num_classes)
