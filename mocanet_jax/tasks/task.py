"""What training needs from a task.

Axes: B batch, T time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax


class Lengths(NamedTuple):
    """Of training sequences, in the task's own unit. shortest, longest: the range that training
    ends with. first_longest: the longest that it starts with."""

    shortest: int
    longest: int
    first_longest: int


class Batches(Protocol):
    """What training draws its batches from. data: a pytree of arrays that the training step is
    handed, () for sequences that are drawn. carries_state: sequence b of a batch goes on where
    that of the batch before ended, but where its `reset`, bool [B], is True."""

    data: Any
    carries_state: bool

    def select(self, batch: int, step: int, count: int) -> Any:
        """What `count` steps from `step` on take from the data: a pytree of arrays with a first
        axis of that length, a function of its arguments and the seed alone."""

    def on_batch(self, run: Callable, data, chosen, key: jax.Array, batch: int, lengths):
        """`run` of the batch of one step, a named tuple of arrays [B, …] with tokens, mask and
        `scored_count`. Traced; batches of several shapes trace `run` for each."""


class Task(Protocol):
    """Where batches come from and how a model's output on them is scored. Files are read where
    they are needed first, which raises UserError for one that cannot be used."""

    lengths: Lengths
    batches: Batches

    def scored_positions(self, batch) -> tuple[jax.Array | None, Any]:
        """Steps whose logits are scored, int [B, N], None for all that the model returns; and
        the batch as `score` needs it with those."""

    def score(self, logits: jax.Array, batch) -> Any:
        """A pytree of sums over a batch, whose method `means` names at least task_loss and
        accuracy."""

    def initialise(self, params: dict) -> dict:
        """Fresh parameters with what the task knows beforehand. Not traced."""

    def record(self) -> dict:
        """What a later process needs besides the config, as values of JSON, and under `data`
        a fingerprint of each part of the data, by name. Under `remarks`, where there are any,
        lines on the data that are shown before training. Reads all files of training."""

    def save(self, workdir: Path) -> None:
        """Writes what people may want to read of it."""
