"""Corpora of TensorFlow Datasets, by their names.

tiny_shakespeare    1.1 MB of plays (Karpathy, 2015); it has the three splits
imdb_reviews        75,000 film reviews to train on, a third of them labelled, and 25,000
                    to test on (Maas et al., 2011)
lm1b                30 million sentences of news in a random order, and 300,000 to test on
                    (Chelba et al., 2013)
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from mocanet_jax.tasks.corpora.chunks import CHUNK, Text, recut
from mocanet_jax.tasks.tfds import Dataset

INSTEAD = (
    "--config.data.path=FILE_OR_DIR, a file of text or a folder with train.txt and valid.txt"
)

LINE_END = re.compile(r"[\r\n]+")


class Named(NamedTuple):
    """url: that TensorFlow Datasets downloads from. train, test: splits of TensorFlow
    Datasets. valid: the same; empty where a share of each split of train is held out.
    lines: every row is a document of one line.
    """

    url: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    lines: bool


NAMED = {
    "imdb_reviews": Named(
        "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        ("train", "unsupervised"),
        (),
        ("test",),
        True,
    ),
    "lm1b": Named(
        "http://www.statmt.org/lm-benchmark/"
        "1-billion-word-language-modeling-benchmark-r13output.tar.gz",
        ("train",),
        (),
        ("test",),
        True,
    ),
    "tiny_shakespeare": Named(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
        "input.txt",
        ("train",),
        ("validation",),
        ("test",),
        False,
    ),
}


def read_named(name: str, held_out: float, documents: bool) -> dict[str, Text]:
    """The three splits of NAMED[name].

    held_out: share of each training split, at its end, that is "valid" where the data set has
    no split for it. documents: chunks are whole lines.

    A row becomes a line, line ends within it spaces; that of tiny_shakespeare is a whole split
    and stays as it is. Raises UserError where the data cannot be had.
    """
    corpus = NAMED[name]
    dataset = Dataset(name, name, corpus.url, INSTEAD)
    if corpus.valid:
        train, valid = _parts(dataset, corpus.train), _parts(dataset, corpus.valid)
    else:
        train = _parts(dataset, corpus.train, stop=1 - held_out)
        valid = _parts(dataset, corpus.train, start=1 - held_out)
    splits = {"train": train, "valid": valid, "test": _parts(dataset, corpus.test)}
    return {
        split: Text(
            f"{name} of TensorFlow Datasets", partial(_chunks, parts, corpus.lines, documents)
        )
        for split, parts in splits.items()
    }


def _parts(dataset, splits, start=0.0, stop=1.0):
    """Rows of each split and the range of them."""
    found = [dataset.rows(split) for split in splits]
    return [(rows, range(int(start * len(rows)), int(stop * len(rows)))) for rows in found]


def _chunks(parts, lines, documents) -> Iterator[str]:
    texts = (rows[i]["text"].decode() for rows, numbers in parts for i in numbers)
    if lines:
        texts = (LINE_END.sub(" ", text) + "\n" for text in texts)
    return recut(_joined(texts), documents)


def _joined(texts):
    """Pieces of CHUNK characters or more."""
    kept, size = [], 0
    for text in texts:
        kept.append(text)
        size += len(text)
        if size >= CHUNK:
            yield "".join(kept)
            kept, size = [], 0
    if kept:
        yield "".join(kept)
