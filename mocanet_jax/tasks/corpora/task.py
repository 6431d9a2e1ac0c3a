"""Language modelling: predict each token of a text from those before it.

Axes: B streams, T time, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from mocanet_jax.runtime.storage.files import write_json
from mocanet_jax.tasks.corpora.chunks import stripped
from mocanet_jax.tasks.corpora.corpus import Tokens, encode_split
from mocanet_jax.tasks.corpora.files import Shares, read_corpus
from mocanet_jax.tasks.corpora.streams import Selection, gather, select
from mocanet_jax.tasks.corpora.tokenizers import Settings, Tokenizer, build_tokenizer
from mocanet_jax.tasks.task import Lengths

R = TypeVar("R")

TOKENIZER_FILE = "tokenizer.json"


class StreamBatch(NamedTuple):
    """A segment of each stream. tokens, targets: int32 [B, T]. mask: bool [B, T], False behind
    the end of a document. reset: bool [B], the state starts afresh.
    """

    tokens: jax.Array
    targets: jax.Array
    mask: jax.Array
    reset: jax.Array

    @property
    def scored_count(self) -> jax.Array:
        """What the loss is a mean over: float []."""
        return jnp.sum(self.mask, dtype=jnp.float32)


class TokenScores(NamedTuple):
    """Sums over tokens, float []. loss: cross-entropy in nats. correct: where the likeliest
    token came. tokens: how many were predicted."""

    loss: jax.Array
    correct: jax.Array
    tokens: jax.Array

    def means(self) -> dict[str, jax.Array]:
        count = jnp.maximum(self.tokens, 1)
        return {"task_loss": self.loss / count, "accuracy": self.correct / count}


@dataclass(frozen=True)
class LanguageTask:
    """A text, cut into parallel streams for training.

    Attributes:
        path: folder with train.txt, valid.txt and perhaps test.txt, a file, the name of a
            corpus of TensorFlow Datasets (tiny_shakespeare, imdb_reviews, lm1b), or facts and
            facts:N, which are generated
        strip_lines: leave out white space at both ends of lines
        documents: none: the text is one stream; lines: each line is a document
        tokenizer: bytes, characters, words, or bpe
        min_freq: occurrences in training from which on a word is known
        max_vocab_size: most tokens of words and bpe
        valid_share: share of a text without splits that is for validation, from its end
        test_share: share of it that is for the test, behind that
        segment: T, tokens of a stream that a step trains on; its state goes on in the next
        seed: of the order of documents
        saved_tokenizer: that of an earlier run; None to build it from the training split
    """

    path: str
    strip_lines: bool
    documents: str
    tokenizer: str
    min_freq: int
    max_vocab_size: int
    valid_share: float
    test_share: float
    segment: int
    seed: int
    saved_tokenizer: Tokenizer | None = None

    def __post_init__(self):
        if self.segment < 1:
            raise ValueError(f"segment must be at least 1, not {self.segment}")

    @cached_property
    def _texts(self):
        shares = Shares(self.valid_share, self.test_share)
        texts = read_corpus(self.path, shares, self.documents)
        return (
            {name: stripped(text) for name, text in texts.items()}
            if self.strip_lines
            else texts
        )

    @cached_property
    def vocabulary(self) -> Tokenizer:
        if self.saved_tokenizer is not None:
            return self.saved_tokenizer
        settings = Settings(self.documents == "lines", self.min_freq, self.max_vocab_size)
        return build_tokenizer(self.tokenizer, self._texts["train"], settings)

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def training(self) -> Tokens:
        return encode_split("train", self._texts["train"], self.vocabulary)

    @cached_property
    def held_out(self) -> dict[str, Tokens]:
        """The splits "valid" and, where there is one, "test"."""
        names = [name for name in self._texts if name != "train"]
        return {name: encode_split(name, self._texts[name], self.vocabulary) for name in names}

    @property
    def lengths(self) -> Lengths:
        """Which do not grow."""
        return Lengths(self.segment, self.segment, self.segment)

    def num_steps(self, length: int) -> int:
        """T of a segment of so many tokens."""
        return length

    @property
    def batches(self) -> "Streams":
        return Streams(self)

    def scored_positions(self, batch: StreamBatch) -> tuple[None, StreamBatch]:
        return None, batch

    def score(self, logits: jax.Array, batch: StreamBatch) -> TokenScores:
        """Scores of logits [B, T, V]."""
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        correct = jnp.argmax(logits, axis=-1) == batch.targets
        return TokenScores(
            jnp.sum(jnp.where(batch.mask, loss, 0.0)),
            jnp.sum(correct & batch.mask, dtype=jnp.float32),
            jnp.sum(batch.mask, dtype=jnp.float32),
        )

    def initialise(self, params: dict) -> dict:
        return params

    def record(self) -> dict:
        """The tokenizer, and fingerprints of the splits."""
        return {"tokenizer": self.vocabulary.fields(), "data": self._fingerprints}

    @cached_property
    def _fingerprints(self) -> dict[str, dict]:
        splits = {"training": self.training} | self.held_out
        return {name: tokens.fingerprint() for name, tokens in splits.items()}

    def save(self, workdir: Path) -> None:
        write_json(workdir / TOKENIZER_FILE, self.vocabulary.fields())


@dataclass(frozen=True)
class Streams:
    """Batches of the next segment of each stream (streams.py)."""

    task: LanguageTask

    carries_state: ClassVar[bool] = True

    @property
    def data(self):
        return self.task.training.ids

    def select(self, batch: int, step: int, count: int) -> Selection:
        task = self.task
        return select(task.training, batch, task.seed, task.segment, step, count)

    def on_batch(self, run: Callable[[StreamBatch], R], data, chosen, key, batch, lengths) -> R:
        segments = gather(data, chosen, self.task.segment)
        return run(StreamBatch(*segments, chosen.reset))
