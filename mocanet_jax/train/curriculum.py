"""The curriculum: which lengths training draws, and when decisions are made hard and the budget
begins to press.

Three stages, and back where the task is lost:

    growing    lengths are uniform on [shortest, longest], and `longest` grows with accuracy;
               decisions are soft, since a search needs slopes
    hard       the task is learned at the longest lengths: pointers move by whole slots, as in
               evaluation, and the quantisation penalty is on
    pressing   it stays learned so: the budget's multiplier is updated

First learn the task, then learn to do it with less.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mocanet_jax.tasks.task import Task

PATIENCE = 5
"""Steps in a row at the longest lengths with accuracy above the threshold, before decisions are
made hard, and again before the budget presses."""

SMOOTHING = 0.8
"""Decay of the running accuracy by which a task counts as lost: one bad batch is noise."""


class CurriculumState(NamedTuple):
    """longest: float32 [], the longest length that training draws. accuracy: float32 [],
    running mean over batches. streak: int32 [], steps in a row in which the task was learned at
    its longest lengths. hardness: float32 [], 0 or 1. pressing: bool []."""

    longest: jax.Array
    accuracy: jax.Array
    streak: jax.Array
    hardness: jax.Array
    pressing: jax.Array


class Curriculum:
    """Of one task, by config.train.curriculum. A task whose lengths do not grow (first_longest
    is longest) is hard and pressing from the start."""

    def __init__(self, config: ConfigDict, task: Task):
        self.config = config
        self.first, self.longest = float(task.first_longest), float(task.longest)
        self.grows = task.first_longest < task.longest

    def initial_state(self) -> CurriculumState:
        soft = self.grows
        return CurriculumState(
            jnp.full((), self.first, jnp.float32),
            jnp.ones((), jnp.float32),
            jnp.zeros((), jnp.int32),
            jnp.full((), 0.0 if soft else 1.0, jnp.float32),
            jnp.full((), not soft),
        )

    def lengths(self, state: CurriculumState) -> tuple[int, jax.Array]:
        """Bounds of the lengths to draw, inclusive."""
        return self.config.shortest, state.longest.astype(jnp.int32)

    def update(
        self, state: CurriculumState, accuracy: jax.Array, multiplier: jax.Array
    ) -> CurriculumState:
        """After a batch of this accuracy, in [0, 1].

        multiplier: λ. Where the budget presses, accuracy may fall by intent; only at λ = 0 does
        a low accuracy say that the task is lost."""
        if not self.grows:
            return state
        settings = self.config
        good = accuracy >= settings.accuracy
        running = SMOOTHING * state.accuracy + (1 - SMOOTHING) * accuracy
        lost = (jnp.maximum(running, accuracy) < settings.retreat) & (multiplier == 0)
        grown = jnp.minimum(state.longest * settings.growth + 1, self.longest)
        shrunk = jnp.maximum((state.longest - 1) / settings.growth, self.first)
        longest = jnp.where(lost, shrunk, jnp.where(good, grown, state.longest))
        at_end = (state.longest >= self.longest) & good
        streak = jnp.where(at_end, state.streak + 1, 0)
        hardness = jnp.where(lost, 0.0, jnp.maximum(state.hardness, streak >= PATIENCE))
        pressing = ~lost & (state.pressing | (streak >= 2 * PATIENCE))
        return CurriculumState(longest, running, streak, hardness, pressing)
