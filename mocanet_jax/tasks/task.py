"""What training needs from a task.

Axes: B batch, T time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax


class Task(Protocol):
    """Where batches come from and how a model's output on them is scored.

    vocab_size: tokens that a model has to know. longest: what the curriculum ends with;
    first_longest: what it starts with. training_data: a pytree of arrays that the training
    step is handed, () for tasks that draw their sequences.
    """

    vocab_size: int
    shortest: int
    longest: int
    first_longest: int
    training_data: Any

    def read(self) -> None:
        """Reads every file that training needs. Raises UserError for one that it cannot use."""

    def select(self, batch: int, step: int, count: int) -> Any:
        """What `count` steps from `step` on take from the training data: a pytree of arrays
        with a first axis of that length, a function of its arguments and the seed alone."""

    def on_batch(self, run: Callable, data, chosen, key: jax.Array, batch: int, lengths):
        """`run` of the batch of one step, a named tuple of arrays [B, …] with tokens, mask and
        `scored_count`. Traced; a task with batches of several shapes traces `run` for each."""

    def scored_positions(self, batch) -> tuple[jax.Array | None, Any]:
        """Steps whose logits are scored, int [B, N], None for all that the model returns; and
        the batch as `score` needs it with those."""

    def score(self, logits: jax.Array, batch) -> Any:
        """Sums over a batch, with a method `means` that names at least task_loss, accuracy."""

    def initialise(self, params: dict) -> dict:
        """Fresh parameters with what the task knows beforehand. Not traced. Raises UserError
        for a file that it cannot use."""

    def example(self) -> jax.Array:
        """Tokens of a smallest batch, which tell a model its shapes."""

    def record(self) -> dict:
        """What a later process needs besides the config, as values of JSON, and under `data`
        a fingerprint of each part of the data, by name."""

    def save(self, workdir: Path) -> None:
        """Writes what people may want to read of it."""
