"""Training texts on the device, in a few static lengths and in an order fixed by the seed.

Axes: B batch, T time, M pieces of a word, N texts, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import ClassVar, NamedTuple, TypeVar

import jax
import numpy as np

from mocanet_jax.tasks.text.labelled import LabelledTexts
from mocanet_jax.tasks.text.vocabulary import Vocabulary

R = TypeVar("R")


class Bucket(NamedTuple):
    """Texts padded to one length. words: int32 [N, T], rows of the table of distinct words,
    0 for padding. labels: int32 [N], or probabilities, float32 [N, C].
    """

    words: jax.Array
    labels: jax.Array


class TrainingData(NamedTuple):
    """table: int32 [distinct words + 1, 1 + M], a word and its pieces. buckets: by length."""

    table: jax.Array
    buckets: tuple[Bucket, ...]


class Selection(NamedTuple):
    """Which texts each of some steps trains on. bucket: int32 [steps]. rows: int32 [steps, B],
    rows of that bucket.
    """

    bucket: np.ndarray
    rows: np.ndarray


class TextBatch(NamedTuple):
    """tokens: int32 [B, T, 1 + M], words and their pieces. mask: bool [B, T], False for
    padding. labels: int32 [B], or probabilities of classes, float32 [B, C].
    """

    tokens: jax.Array
    mask: jax.Array
    labels: jax.Array

    @property
    def scored_count(self) -> int:
        """What the loss is a mean over: texts."""
        return len(self.labels)


@dataclass(frozen=True)
class BucketedTexts:
    """Batches of texts of one bucket each. read: of the data, when it is needed first. seed: of
    their order."""

    read: Callable[[], TrainingData]
    seed: int

    carries_state: ClassVar[bool] = False

    @cached_property
    def data(self) -> TrainingData:
        return self.read()

    def select(self, batch: int, step: int, count: int) -> Selection:
        sizes = tuple(len(bucket.labels) for bucket in self.data.buckets)
        return select(sizes, batch, self.seed, step, count)

    def on_batch(self, run: Callable[[TextBatch], R], data, chosen, key, batch, lengths) -> R:
        """`run` of the batch that one step chose; compiled once for every bucket."""

        def branch(bucket):
            def take(rows):
                words = bucket.words[rows]
                return run(TextBatch(data.table[words], words > 0, bucket.labels[rows]))

            return take

        return jax.lax.switch(chosen.bucket, [branch(b) for b in data.buckets], chosen.rows)


def bucketed(
    texts: LabelledTexts, lengths: tuple[int, ...], vocabulary: Vocabulary
) -> TrainingData:
    """Every text in the shortest bucket that holds it; what is longer than the last is cut.

    lengths: T of the buckets, rising; one without texts is left out.
    """
    numbers = {word: i for i, word in enumerate(dict.fromkeys(chain(*texts.tokens)), start=1)}
    encoded = vocabulary.encode(list(numbers))
    place = np.searchsorted(lengths, [len(tokens) for tokens in texts.tokens])
    place = np.minimum(place, len(lengths) - 1)
    buckets = []
    for i, length in enumerate(lengths):
        rows = np.flatnonzero(place == i)
        words = np.zeros((len(rows), length), np.int32)
        for line, row in zip(words, rows, strict=True):
            tokens = texts.tokens[row][:length]
            line[: len(tokens)] = [numbers[token] for token in tokens]
        if len(rows):
            buckets.append(Bucket(words, texts.labels[rows]))
    table = np.concatenate([np.zeros_like(encoded[:1]), encoded])
    return jax.device_put(TrainingData(table, tuple(buckets)))


def select(sizes: tuple[int, ...], batch: int, seed: int, step: int, count: int) -> Selection:
    """The texts of `count` steps from `step` on, as a pure function of its arguments.

    sizes: N of each bucket. Every text is met once an epoch; a bucket's last batch is filled
    up with its first texts.
    """
    steps_per_epoch = sum(-(-size // batch) for size in sizes)
    parts = []
    for now in range(step, step + count):
        epoch, place = divmod(now, steps_per_epoch)
        parts.append([part[place] for part in _epoch(sizes, batch, seed, epoch)])
    bucket, rows = zip(*parts, strict=True)
    return Selection(np.array(bucket, np.int32), np.array(rows, np.int32))


@lru_cache(maxsize=2)
def _epoch(sizes, batch, seed, epoch) -> Selection:
    random = np.random.default_rng((seed, epoch))
    bucket, rows = [], []
    for i, size in enumerate(sizes):
        batches = -(-size // batch)
        rows.append(np.resize(random.permutation(size), (batches, batch)))
        bucket += [i] * batches
    order = random.permutation(len(bucket))
    return Selection(np.array(bucket)[order], np.concatenate(rows)[order])
