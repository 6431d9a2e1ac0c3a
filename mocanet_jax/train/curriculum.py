"""The curriculum: which lengths training draws, and when decisions are made hard and the budget
begins to press.

Three stages, and back to the first where the task is lost:

    growing    lengths are uniform on [shortest, longest], and `longest` grows with accuracy;
               decisions are soft, since a search needs slopes, but from the first growth on
               those of a quarter of each batch are hard, to learn that too, and to show how
               it goes; λ is 0
    hardening  the longest lengths are learned, with hard decisions: hardness rises to 1, what
               evaluation uses, with every batch that confirms it, and the quantisation penalty
               with it
    pressing   it stays learned so: λ is updated

Lengths grow with the better of the two accuracies. A pointer that is soft can be right where
its rounded steps are not, and then hardening would lose the task; a soft count blurs over a
long sequence where a hard one is exact, and would never get there.

First learn the task, then learn to do it exactly, then to do it with less. A stage that is
reached is left only by a loss of the task: then decisions are soft and λ is 0 at once, lengths
shrink until accuracy is back, and the next attempt is half as fast.

A budget below what the task needs lowers accuracy too, and by intent. Where λ is above 0 the
task is therefore lost only below half of the accuracy that it is lost at otherwise; and after
PATIENT_FALLS losses it is taken to be the budget's doing, which then presses on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mocanet_jax.tasks.task import Task

CONFIRMATIONS = 5
"""Batches of a stage in which the task is learned, less those in which it is not, before the
next one begins; twice as many after every loss of the task."""

PATIENT_FALLS = 2
"""Losses of the task after which the budget presses on, as fast as at first."""

UNDER_PRESSURE = 0.5
"""Factor on the accuracy below which the task is lost, where λ is above 0."""

SMOOTHING = 0.8
"""Decay of running accuracies: one bad batch is no loss of the task, and in a good one the few
sequences with hard decisions may be right by luck."""

HARD_SHARE = 4
"""One sequence in so many has hard decisions once lengths grow."""


class Accuracies(NamedTuple):
    """Of one batch, float [] in [0, 1]. hard: of the first sequences, whose decisions are hard
    once lengths grow. soft: of the others, at the curriculum's hardness."""

    soft: jax.Array
    hard: jax.Array


def hard_rows(batch: int) -> int:
    """How many of B sequences, the first ones, have hard decisions once lengths grow."""
    return batch // HARD_SHARE


class CurriculumState(NamedTuple):
    """longest: float32 [], the longest length that training draws. accuracy, hard_accuracy:
    float32 [] in [0, 1], running means over batches, of the better of Accuracies and of the
    hard one. confirmed: int32 [], batches that confirmed the task at its longest lengths, less
    those that did not. falls: int32 [], how often it was lost after that."""

    longest: jax.Array
    accuracy: jax.Array
    hard_accuracy: jax.Array
    confirmed: jax.Array
    falls: jax.Array

    @property
    def patience(self) -> jax.Array:
        """Confirmations that a stage takes, int32 []."""
        return CONFIRMATIONS * 2 ** jnp.minimum(self.falls, PATIENT_FALLS)

    @property
    def hardness(self) -> jax.Array:
        """Of decisions, float32 [] in [0, 1]."""
        return jnp.minimum(self.confirmed / self.patience, 1.0).astype(jnp.float32)

    @property
    def pressing(self) -> jax.Array:
        """Whether λ is updated, bool []."""
        return self.confirmed >= 2 * self.patience

    @property
    def pace(self) -> jax.Array:
        """Factor on λ's updates, float32 []: halved by every loss of the task, up to the last
        that is waited for."""
        return jnp.where(self.falls < PATIENT_FALLS, 0.5**self.falls, 1.0)


class Curriculum:
    """Of one task, by config.train.curriculum. A task whose lengths do not grow (first_longest
    is longest) is hard and pressed from the start."""

    def __init__(self, config: ConfigDict, task: Task):
        self.config = config
        lengths = task.lengths
        self.first, self.longest = float(lengths.first_longest), float(lengths.longest)
        self.grows = lengths.first_longest < lengths.longest

    def initial_state(self) -> CurriculumState:
        confirmed = 0 if self.grows else 2 * CONFIRMATIONS
        return CurriculumState(
            jnp.full((), self.first, jnp.float32),
            jnp.zeros((), jnp.float32),
            jnp.zeros((), jnp.float32),
            jnp.full((), confirmed, jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    def first_hardness(self, state: CurriculumState) -> jax.Array:
        """Of the first sequences of a batch, float32 [] in [0, 1]."""
        return jnp.where(state.longest > self.first, 1.0, state.hardness)

    def lengths(self, state: CurriculumState) -> tuple[int, jax.Array]:
        """Bounds of the lengths to draw, inclusive."""
        return self.config.shortest, state.longest.astype(jnp.int32)

    def update(
        self, state: CurriculumState, accuracies: Accuracies, multiplier: jax.Array
    ) -> CurriculumState:
        """After a batch of these accuracies, with this λ, float []."""
        if not self.grows:
            return state
        growth, needed = self.config.growth, self.config.accuracy
        soft, hard = accuracies
        best = jnp.maximum(soft, hard)
        running, running_hard = (
            _smoothed(state.accuracy, best),
            _smoothed(state.hard_accuracy, hard),
        )
        good = jnp.maximum(soft, jnp.minimum(hard, running_hard)) >= needed
        pressed = multiplier > 0
        retreat = self.config.retreat * jnp.where(pressed, UNDER_PRESSURE, 1.0)
        lost = ~good & (jnp.maximum(running, best) < retreat)
        lost &= ~pressed | (state.falls < PATIENT_FALLS)
        grown = jnp.minimum(state.longest * growth + 1, self.longest)
        shrunk = jnp.maximum((state.longest - 1) / growth, self.first)
        return CurriculumState(
            jnp.where(lost, shrunk, jnp.where(good, grown, state.longest)),
            running,
            running_hard,
            jnp.where(lost, 0, self._confirmed(state, hard >= needed)),
            state.falls + (lost & (state.confirmed > 0)),
        )

    def _confirmed(self, state, good):
        at_end, patience = state.longest >= self.longest, state.patience
        moved = state.confirmed + jnp.where(good & at_end, 1, -1)
        stage = jnp.minimum(state.confirmed // patience, 2)
        return jnp.clip(moved, stage * patience, 2 * patience)

    def news(self, before: CurriculumState, after: CurriculumState) -> str | None:
        """A line on the steps between two states, of Python numbers, where the task was lost
        in one of them."""
        if after.falls == before.falls:
            return None
        return (
            f"the task was lost: training accuracy fell to {after.accuracy:.0%}, so decisions "
            f"are soft again, the budget does not press, and lengths go to {after.longest:.0f}"
        )

    def verdict(self, state: CurriculumState) -> str | None:
        """A line on a run that ends in this state, of Python numbers, where it has not learned
        its task."""
        if not self.grows:
            return None
        if state.accuracy >= self.config.accuracy:
            return self._soft_alone(state)
        accuracy = f"training accuracy is {state.accuracy:.0%}"
        if state.longest < self.longest:
            lengths = f"{state.longest:.0f} of {self.longest:.0f}"
            return f"the task is not learned: {accuracy} at lengths to {lengths}"
        return f"the task is lost: {accuracy}" if state.accuracy < self.config.retreat else None

    def _soft_alone(self, state):
        """A line where decisions never became hard, since that accuracy is low."""
        if state.longest < self.longest or state.hard_accuracy >= self.config.retreat:
            return None
        return (
            "the task is learned with soft decisions only: training accuracy is "
            f"{state.hard_accuracy:.0%} with hard ones"
        )


def _smoothed(mean, number):
    return SMOOTHING * mean + (1 - SMOOTHING) * number
