"""Cycle navigation: where on a circle of five places do these moves end?

    input   + + - 0 + M ·
    target  · · · · · · 2        1 + 1 - 1 + 0 + 1, from place 0

L moves, each a step forward, a step back or none, uniform; the answer is the place, modulo 5.
A regular language. (Cycle Navigation of Delétang et al., 2023, who score the answer at a
blank directly after the moves, and whose moves share their words with places; here a
marker comes between, and moves have words of their own.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask

PLACES = 5
BACK, STAY, FORWARD = 5, 6, 7


class CycleNavigationTask(TransductionTask):
    """Lengths are numbers of moves, L. Symbols: places 0 to 4, then BACK, STAY, FORWARD."""

    num_symbols: ClassVar[int] = 8
    names: ClassVar[dict[int, str]] = {BACK: "−1", STAY: "+0", FORWARD: "+1"}

    def answer_length(self, length):
        return 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N] in [BACK, FORWARD]."""
        return jax.random.randint(key, (len(length), fit), BACK, FORWARD + 1)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1], a place."""
        moves = jnp.where(symbols == NOTHING, 0, symbols - STAY)
        return jnp.sum(moves, axis=1, keepdims=True) % PLACES
