"""What training and evaluation need from a task.

Axes: B batch, T time, V vocabulary.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax


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


class Task(Protocol):
    """A family of sequences drawn on device from a key.

    `blank` and `marker` are the tokens that pictures tell apart from symbols. The range of
    lengths is [shortest, longest]; training may start at `first_longest` and
    grow, evaluation goes on to any length.
    """

    vocab_size: int
    blank: int
    marker: int | None
    shortest: int
    longest: int
    first_longest: int

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences with lengths in the inclusive range `lengths`, padded to the number
        of steps that a length of `fit` needs."""

    def num_steps(self, length: int) -> int:
        """T of the longest sequence of this length."""


def score(logits: jax.Array, batch: Batch) -> Scores:
    """Scores of logits [B, T, V]."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
    correct = jnp.argmax(logits, axis=-1) == batch.targets
    return Scores(
        jnp.sum(loss * batch.scored),
        jnp.sum(correct & batch.scored, dtype=jnp.float32),
        jnp.sum(batch.scored, dtype=jnp.float32),
        jnp.sum(jnp.all(correct | ~batch.scored, axis=1), dtype=jnp.float32),
        jnp.full((), len(batch.tokens), jnp.float32),
    )
