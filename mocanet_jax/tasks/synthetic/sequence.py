"""Tasks whose sequences are drawn on device from a key, scored step by step.

Axes: B batch, T time, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from mocanet_jax.core.rows import placed
from mocanet_jax.tasks.task import Lengths

R = TypeVar("R")


class Batch(NamedTuple):
    """tokens, targets: int32 [B, T]. scored: bool [B, T], the steps that loss and metrics
    count. mask: bool [B, T], False for padding. length: int32 [B], the difficulty by which
    results are reported.
    """

    tokens: jax.Array
    targets: jax.Array
    scored: jax.Array
    mask: jax.Array
    length: jax.Array

    @property
    def scored_count(self) -> jax.Array:
        """What the loss is a mean over: float []."""
        return jnp.sum(self.scored, dtype=jnp.float32)


class Scores(NamedTuple):
    """Sums over a batch, to be added over batches and divided once. All float [].

    loss: cross-entropy in nats over scored steps. correct, scored: steps.
    exact, sequences: sequences with every scored step correct, and all of them.
    """

    loss: jax.Array
    correct: jax.Array
    scored: jax.Array
    exact: jax.Array
    sequences: jax.Array

    def means(self) -> dict[str, jax.Array]:
        return {
            "task_loss": self.loss / self.scored,
            "accuracy": self.correct / self.scored,
            "exact_match": self.exact / self.sequences,
        }


@dataclass(frozen=True)
class SequenceTask:
    """What all such tasks share; a subclass adds `sample`, `num_steps` and `answer_length`,
    and the constants without a value.

    Attributes:
        shortest, longest: range of training lengths, 1 ≤ shortest ≤ longest
        first_longest: longest length that training starts with
        vocab_size: number of tokens, V
        blank: token without information, which pictures leave out
        marker: token that marks the start of the answer, or None
        limit: longest length that there is

    Raises ValueError for lengths that there are not.
    """

    shortest: int
    longest: int
    first_longest: int

    vocab_size: ClassVar[int]
    blank: ClassVar[int]
    marker: ClassVar[int | None]
    limit: ClassVar[float] = math.inf

    def __post_init__(self):
        if (
            not 1 <= self.shortest <= self.longest
            or not 1 <= self.first_longest <= self.longest
        ):
            raise ValueError(
                "lengths need 1 ≤ shortest ≤ longest and 1 ≤ first_longest ≤ longest, "
                f"not {self.shortest}, {self.longest} and {self.first_longest}"
            )
        if self.longest > self.limit:
            raise ValueError(f"lengths end at {self.limit}, longest is {self.longest}")

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences with lengths in the inclusive range `lengths`, padded to the number
        of steps that a length of `fit` needs."""
        raise NotImplementedError

    def training_batch(self, key: jax.Array, batch: int, lengths: tuple) -> Batch:
        """B sequences to train on, where the curriculum is at `lengths`."""
        return self.sample(key, batch, lengths, self.longest)

    def num_steps(self, length: int) -> int:
        """T of the longest sequence of this length."""
        raise NotImplementedError

    def answer_length(self, length):
        """The most steps that are scored in a sequence of this length; never falls as the
        length grows."""
        raise NotImplementedError

    def memory_length(self, length: int) -> int:
        """What memory is enlarged in proportion to in evaluation, beyond training's range: the
        length itself, unless what has to be remembered does not grow with it."""
        return length

    def memory_growth(self, length: int) -> Fraction:
        """What has to be remembered at this length, over that of training's longest."""
        return Fraction(self.memory_length(length), self.memory_length(self.longest))

    def symbol(self, token: int) -> str:
        """What pictures call a token."""
        return str(token)

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.shortest, self.longest, self.first_longest)

    @property
    def batches(self) -> "Drawn":
        return Drawn(self)

    def scored_positions(self, batch: Batch) -> tuple[jax.Array, Batch]:
        return only_scored(batch, self.answer_length(self.longest))

    def score(self, logits: jax.Array, batch: Batch) -> Scores:
        return score(logits, batch)

    def record(self) -> dict:
        """Empty: the config determines the data."""
        return {}

    def save(self, workdir: Path) -> None:
        """Saves nothing, for the same reason."""

    def initialise(self, params: dict) -> dict:
        return params


@dataclass(frozen=True)
class Drawn:
    """Batches of sequences that are drawn afresh at every step."""

    task: SequenceTask
    data: ClassVar[tuple[()]] = ()
    carries_state: ClassVar[bool] = False

    def select(self, batch: int, step: int, count: int) -> tuple[()]:
        return ()

    def on_batch(self, run: Callable[[Batch], R], data, chosen, key, batch, lengths) -> R:
        return run(self.task.training_batch(key, batch, lengths))


def only_scored(batch: Batch, count: int) -> tuple[jax.Array, Batch]:
    """The scored steps of each sequence in their order, int32 [B, count], and the batch with
    targets and scored, [B, count], of these alone.

    count: at least as many as are scored in any sequence. One with fewer ends with steps 0
    that are not scored.
    """
    place = jnp.where(batch.scored, jnp.cumsum(batch.scored, axis=1) - 1, count)
    every = jnp.broadcast_to(jnp.arange(place.shape[1], dtype=jnp.int32), place.shape)
    steps = placed(every, place, count, 0)
    scored = jnp.arange(count)[None] < jnp.sum(batch.scored, axis=1, keepdims=True)
    targets = jnp.take_along_axis(batch.targets, steps, axis=1)
    return steps, batch._replace(targets=targets, scored=scored)


def score(logits: jax.Array, batch: Batch) -> Scores:
    """Scores of logits [B, T, V]."""
    return summed(*by_step(logits, batch.targets), batch)


def by_step(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits [B, T, V] and targets [B, T] to cross-entropy in nats, float [B, T], and whether
    the target is the most probable token, bool [B, T]."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return loss, jnp.argmax(logits, axis=-1) == targets


def summed(loss: jax.Array, correct: jax.Array, batch: Batch) -> Scores:
    """Scores of what `by_step` returns for the whole sequences of a batch."""
    return Scores(
        jnp.sum(loss * batch.scored),
        jnp.sum(correct & batch.scored, dtype=jnp.float32),
        jnp.sum(batch.scored, dtype=jnp.float32),
        jnp.sum(jnp.all(correct | ~batch.scored, axis=1), dtype=jnp.float32),
        jnp.full((), len(batch.tokens), jnp.float32),
    )
