"""Classification of texts: batches in a few static lengths, in an order fixed by the seed.

Axes: N members, B batch, T time, M pieces of a word, C classes.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import write_json
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.task import Lengths
from mocanet_jax.tasks.text.buckets import BucketedTexts, TextBatch, TrainingData, bucketed
from mocanet_jax.tasks.text.labelled import LabelledTexts, hold_out, read_tsv
from mocanet_jax.tasks.text.nonsense import nonsense
from mocanet_jax.tasks.text.soft import joined, read_soft, with_soft
from mocanet_jax.tasks.text.tokenizer import interpreter_fault
from mocanet_jax.tasks.text.vectors import read_vectors
from mocanet_jax.tasks.text.vocabulary import (
    FIRST_WORD,
    Vocabulary,
    build_vocabulary,
    vocabulary_of,
)


class TextScores(NamedTuple):
    """Sums over a batch of texts, float []. loss: cross-entropy in nats."""

    loss: jax.Array
    correct: jax.Array
    texts: jax.Array

    def means(self) -> dict[str, jax.Array]:
        return {"task_loss": self.loss / self.texts, "accuracy": self.correct / self.texts}


VOCABULARY_FILE = "vocabulary.json"


@dataclass(frozen=True)
class TextTask:
    """A labelled corpus; a subclass defines where it is read from.

    Attributes:
        path: where the subclass reads from
        eval_file: TSV to evaluate on in place of the validation split; empty for none
        pretrained_embeddings: file of word vectors (vectors.py) that known words start from;
            empty for none
        soft_labels: file of texts with probabilities (soft.py) to train on, too, in place of
            the labels of texts that are in both; empty for none
        nonsense_share: texts that say nothing (nonsense.py) to train on besides, as a share of
            the others, so that unknown words lower confidence
        min_freq: occurrences in training from which on a word is in the vocabulary
        max_vocab_size: largest number of words in the vocabulary
        num_pieces: hashed n-grams of characters that have a vector
        max_pieces: M, most n-grams of a word
        buckets: rising lengths that training texts are padded to; what is longer than the
            last is cut, in training only
        held_out: share of training sentences kept for choosing a checkpoint and calibrating it
        label_smoothing: share of a training label that is spread evenly over the classes
        seed: of what is held out and of the order of training
        known_words: of a run that this one starts from, which stay in the vocabulary though
            the training texts may not have them
        saved_vocabulary: that of an earlier run; None to build it from the training texts
        classes: their names
    """

    path: str
    eval_file: str
    pretrained_embeddings: str
    min_freq: int
    max_vocab_size: int
    num_pieces: int
    max_pieces: int
    buckets: tuple[int, ...]
    label_smoothing: float
    seed: int
    held_out: float = 0.05
    soft_labels: str = ""
    nonsense_share: float = 0.0
    known_words: tuple[str, ...] = ()
    saved_vocabulary: Vocabulary | None = None

    classes: ClassVar[tuple[str, ...]]

    answer_name: ClassVar[str] = "label"
    """What a class says of a text, as the key of answers in JSON."""

    def __post_init__(self):
        if fault := interpreter_fault():
            raise UserError(fault)
        object.__setattr__(self, "buckets", _whole(self.first_buckets()))
        rising = all(a < b for a, b in zip((0, *self.buckets), self.buckets, strict=False))
        if not self.buckets or not rising:
            raise ValueError(f"buckets must be rising lengths from 1 on, not {self.buckets}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out is a share between 0 and 1, not {self.held_out}")
        if not 0 <= self.nonsense_share < 1:
            raise ValueError(f"nonsense_share must be in [0, 1), not {self.nonsense_share}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), not {self.label_smoothing}")
        Vocabulary((), self.num_pieces, self.max_pieces)  # refuses impossible sizes
        if self.min_freq < 1 or self.max_vocab_size < 1:
            raise ValueError(
                f"min_freq and max_vocab_size must be at least 1, "
                f"not {self.min_freq} and {self.max_vocab_size}"
            )

    def first_buckets(self) -> tuple[int, ...]:
        """The buckets, before they are checked."""
        return self.buckets

    def read_train(self) -> LabelledTexts:
        raise NotImplementedError

    def read_validation(self) -> LabelledTexts:
        raise NotImplementedError

    @property
    def longest(self) -> int:
        return self.buckets[-1]

    @property
    def lengths(self) -> Lengths:
        """Which do not grow."""
        return Lengths(1, self.longest, self.longest)

    @cached_property
    def _corpus(self) -> LabelledTexts:
        """All training texts, those held out among them."""
        return self.read_train()

    @cached_property
    def _split(self) -> tuple[LabelledTexts, LabelledTexts]:
        texts = self._corpus
        train, held_out = hold_out(texts, self.held_out, self.seed)
        if not len(train) or not len(held_out):
            raise UserError(
                f"config.data.held_out={self.held_out} leaves {len(train)} of {len(texts)} "
                f"texts to train on and {len(held_out)} held out; both need some"
            )
        return texts.take(train), texts.take(held_out)

    @property
    def train_texts(self) -> LabelledTexts:
        return self._split[0]

    @property
    def held_out_texts(self) -> LabelledTexts:
        """Whole sentences of the training split that training does not see."""
        return self._split[1]

    @cached_property
    def evaluation_texts(self) -> LabelledTexts:
        if self.eval_file:
            return read_tsv(local_path(self.eval_file), len(self.classes))
        return self.read_validation()

    @property
    def test_texts(self) -> LabelledTexts | None:
        """What is reported beside evaluation_texts and steers nothing; None where there are
        none."""
        return None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        if self.saved_vocabulary is not None:
            return self.saved_vocabulary
        found = build_vocabulary(
            self._all_training_texts.tokens,
            self.min_freq,
            self.max_vocab_size,
            self.num_pieces,
            self.max_pieces,
        )
        words = dict.fromkeys((*found.words, *self.known_words))
        return Vocabulary(tuple(words), self.num_pieces, self.max_pieces)

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @classmethod
    def settings_of(cls, record: dict) -> dict:
        """Fields of the task of an earlier run, from its `record`, which may be empty or have
        the known_words of another."""
        if "known_words" in record:
            return {"known_words": tuple(record["known_words"])}
        if "vocabulary" not in record:
            return {}
        return {"saved_vocabulary": vocabulary_of(record["vocabulary"])}

    def save(self, workdir: Path) -> None:
        fields = self.vocabulary.fields() | {"classes": [*self.classes]}
        write_json(workdir / VOCABULARY_FILE, fields)

    def texts_in(self, file: Path) -> list[str] | None:
        """Texts of a file of records, to be judged; None of one that is read line by line.
        Raises UserError."""
        return None

    def record(self) -> dict:
        """The vocabulary, and fingerprints of the texts by split."""
        return {"vocabulary": self.vocabulary.fields(), "data": self._fingerprints}

    @cached_property
    def _fingerprints(self) -> dict[str, dict]:
        texts = {"training": self.train_texts, "held-out": self.held_out_texts}
        if self.soft_labels:
            texts["training"] = self._all_training_texts
        texts |= {"validation": self.evaluation_texts}
        return {name: part.fingerprint() for name, part in texts.items()}

    def fitting_length(self, length: int) -> int:
        """The longest training length, doubled until a text of `length` words fits, so that
        few shapes are compiled."""
        return self.longest * 2 ** max(0, math.ceil(math.log2(length / self.longest)))

    def pad(self, texts: list[list[str]], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [B, T, 1 + M] and mask [B, T] of texts cut or padded to T = `length`."""
        tokens = np.zeros((len(texts), length, 1 + self.vocabulary.max_pieces), np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, live, words in zip(tokens, mask, texts, strict=True):
            encoded = self.vocabulary.encode(words[:length])
            row[: len(encoded)] = encoded
            live[: len(encoded)] = True
        return tokens, mask

    def augmentation(self) -> LabelledTexts | None:
        """Further texts to train on, made of train_texts; None for none."""
        return None

    @cached_property
    def batches(self) -> BucketedTexts:
        return BucketedTexts(self._training_data, self.seed)

    @cached_property
    def _all_training_texts(self) -> LabelledTexts:
        """Those of the corpus, and with soft labels those of their file."""
        if not self.soft_labels:
            return self.train_texts
        try:
            soft = read_soft(local_path(self.soft_labels), self.classes)
        except UserError as error:
            raise UserError(f"config.data.soft_labels: {error}") from error
        return with_soft(self.train_texts, soft, self._never_trained, self.label_smoothing)

    @property
    def _never_trained(self) -> set[tuple[str, ...]]:
        """Tokens of texts that are for choosing, validation or the test, and of those left out
        of training since they are part of one."""
        parts = [self._corpus, self.held_out_texts, self.read_validation()]
        parts += [self.test_texts] if self.test_texts else []
        known = {tuple(words) for words in self.train_texts.tokens}
        return {tuple(words) for part in parts for words in part.tokens} - known

    def _training_data(self) -> TrainingData:
        texts, more = self._all_training_texts, self.augmentation()
        if more is not None:
            texts = joined(texts, more, self.label_smoothing)
        if count := round(self.nonsense_share * len(texts)):
            more = nonsense(self.train_texts, len(self.classes), count, self.seed)
            texts = joined(texts, more, self.label_smoothing)
        return bucketed(texts, self.buckets, self.vocabulary)

    def initialise(self, params: dict) -> dict:
        """`params` with the vectors of the file, which are brought to the scale of the words
        that start at random."""
        if not self.pretrained_embeddings:
            return params
        members = params.get("members", params)
        table = np.array(members["embed"]["words"]["embedding"])
        words = self.vocabulary.words
        found = read_vectors(local_path(self.pretrained_embeddings), words, table.shape[-1])
        if not found:
            raise UserError(f"{self.pretrained_embeddings} has no word of the vocabulary")
        spread = np.std(list(found.values()), dtype=np.float64)  # squares may overflow
        if not spread > 0:
            raise UserError(f"{self.pretrained_embeddings}: all numbers are the same")
        scale = table.std() / spread
        for row, word in enumerate(words, start=FIRST_WORD):
            if word in found:
                table[..., row, :] = scale * found[word]
        embed = members["embed"] | {"words": {"embedding": jnp.asarray(table)}}
        members = members | {"embed": embed}
        return params | ({"members": members} if "members" in params else members)

    def scored_positions(self, batch: TextBatch) -> tuple[None, TextBatch]:
        return None, batch

    def score(self, logits: jax.Array, batch: TextBatch) -> TextScores:
        """Scores of logits [N, B, C], every member's decision by itself, the loss against
        smoothed labels, or against probabilities as they are."""
        answers, labels = batch.labels, batch.labels
        if labels.ndim > 1:
            answers = jnp.argmax(labels, axis=-1)
        else:
            labels = jax.nn.one_hot(labels, len(self.classes))
            labels = optax.smooth_labels(labels, self.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, labels[None])
        correct = jnp.argmax(logits, axis=-1) == answers[None]
        return TextScores(
            jnp.sum(loss),
            jnp.sum(correct, dtype=jnp.float32),
            jnp.full((), loss.size, jnp.float32),
        )


def _whole(lengths) -> tuple[int, ...]:
    """Raises ValueError for what are no whole numbers, in whatever type."""
    whole = all(type(x) in (int, float) and x == int(x) for x in lengths)
    if not whole:
        raise ValueError(f"buckets must be whole numbers, not {lengths}")
    return tuple(map(int, lengths))
