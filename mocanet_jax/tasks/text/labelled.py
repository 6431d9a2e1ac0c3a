"""Labelled texts: tables of them, and a part held out without leaks.

sentence<TAB>label
one long string of cliches .<TAB>0
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocanet_jax.runtime.storage.files import regular
from mocanet_jax.tasks.text import tables
from mocanet_jax.tasks.text.tokenizer import tokenize

MAX_WORDS = 1024
"""Of one text; what comes after is not read."""

COMPARED_WORDS = 50_000
"""Of one text, when it is looked for which others are part of it."""


class LabelledTexts(NamedTuple):
    """texts: as they were written. tokens: the same tokenised, none empty.
    labels: int32 [N], or of training texts with soft labels probabilities, float32 [N, C].
    """

    texts: list[str]
    tokens: list[list[str]]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "LabelledTexts":
        return LabelledTexts(
            [self.texts[i] for i in rows], [self.tokens[i] for i in rows], self.labels[rows]
        )

    def fingerprint(self) -> dict:
        """Equal for equal tokens and labels in the same order: their number and a checksum."""
        digest = hashlib.sha256()
        for label, words in zip(self.labels, self.tokens, strict=True):
            digest.update(f"{label}\t{' '.join(words)}\n".encode("utf-8", "surrogatepass"))
        return {"texts": len(self), "sha256": digest.hexdigest()}


def labelled_texts(
    texts: list[str],
    labels: list[int],
    place: str = "text",
    numbers: Sequence[int] | None = None,
) -> LabelledTexts:
    """Tokenises. Raises ValueError for a text without a token, naming it by `place` and its
    number; numbers: None to count from 1 on."""
    tokens = [tokenize(text) for text in texts]
    for i, words in enumerate(tokens):
        if not words:
            number = numbers[i] if numbers else 1 + i
            raise ValueError(f"{place} {number} is empty: {texts[i][:40]!r}")
    return LabelledTexts(texts, tokens, np.array(labels, np.int32))


def read_tsv(path: Path, num_classes: int) -> LabelledTexts:
    """A table (tables.py) with the columns sentence and label; further columns are ignored.
    Raises UserError that names the file and the line.
    """
    with tables.errors_of(path):
        found = tables.table(tables.decoded(regular(path).read_bytes()))
        if found is None or tables.LABEL not in found.names:
            raise ValueError("line 1: the header must be sentence<TAB>label")
        rows = [_parse(number, row, found.names, num_classes) for number, row in found.rows]
        if not rows:
            raise ValueError("no rows below the header")
        numbers, texts, labels = zip(*rows, strict=True)
        return labelled_texts([*texts], [*labels], "line", numbers)


def _parse(number, row, names, num_classes):
    """Line, text and label. Raises ValueError that names the line."""
    place = {name: names.index(name) for name in (tables.SENTENCE, tables.LABEL)}
    if len(row) <= max(place.values()):
        plural = "" if len(row) == 1 else "s"
        raise ValueError(
            f"line {number}: expected {'<TAB>'.join(names[: 1 + max(place.values())])}, "
            f"found {len(row)} column{plural}"
        )
    text, label = row[place[tables.SENTENCE]], row[place[tables.LABEL]].strip()
    if label not in map(str, range(num_classes)):
        more = len(row) - len(names)
        hint = f"; the line has {more} more columns than the header" if more > 0 else ""
        raise ValueError(
            f"line {number}: the label must be a whole number from 0 to {num_classes - 1}, "
            f"not {label[:40]!r}{hint}"
        )
    if not text.strip():
        raise ValueError(f"line {number}: the sentence is empty")
    return number, text, int(label)


def hold_out(texts: LabelledTexts, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, when texts contain one another.

    SST-2's training texts are phrases, most of them parts of a longer one, so a random row
    held out has been seen in training. Here whole sentences (texts that are part of no
    other) are drawn, and held out with every phrase that occurs in them alone.

    Returns training rows and held-out sentences, as int arrays; the phrases of a held-out
    sentence are in neither.
    """
    keys = ["".join(f"{word} " for word in words[:COMPARED_WORDS]) for words in texts.tokens]
    phrases, inside = _Phrases(keys), defaultdict(list)
    sentences = []
    for row in sorted(range(len(keys)), key=lambda row: -len(texts.tokens[row])):
        if keys[row] in inside:
            continue
        for phrase in phrases.within(keys[row]):
            inside[phrase].append(len(sentences))
        sentences.append(row)
    drawn = np.random.default_rng(seed).permutation(len(sentences))
    out = set(drawn[: round(share * len(sentences))].tolist())
    train = [row for row, key in enumerate(keys) if not out.issuperset(inside[key])]
    return np.array(train, int), np.array(sorted(sentences[i] for i in out), int)


class _Phrases:
    """Finds which texts are part of one. A text is a string here, a space after every word.

    Of texts in alphabetical order, those that a string begins with stand before it, and what
    stands between one of them and the string begins with it, too. So the last text that is not
    behind the string, or the longest other text that this one begins with, and so on, is the
    longest that the string begins with; and all others are found from there in the same way.
    """

    def __init__(self, texts: list[str]):
        self._texts = sorted(set(texts))
        self._beginning: list[int] = []
        """Of each text, the place of the longest other one that it begins with, or -1."""
        for place, text in enumerate(self._texts):
            self._beginning.append(self._longest(place - 1, text))

    def _longest(self, place: int, string: str) -> int:
        """Place of the longest text that `string` begins with, -1 for none. place: of the
        last text before it."""
        while place >= 0 and not string.startswith(self._texts[place]):
            place = self._beginning[place]
        return place

    def within(self, text: str) -> Iterator[str]:
        """Every text that is part of `text`, itself included, once."""
        found, start = set(), 0
        while start < len(text):
            rest = text[start:]
            place = self._longest(bisect_right(self._texts, rest) - 1, rest)
            while place >= 0 and place not in found:  # what it begins with was found with it
                found.add(place)
                place = self._beginning[place]
            start = text.index(" ", start) + 1
        return (self._texts[place] for place in found)
