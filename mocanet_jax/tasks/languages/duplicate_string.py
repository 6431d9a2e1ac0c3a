"""Duplication: produce a string twice.

    input   0 1 1 M · · · · · ·
    target  · · · · 0 1 1 0 1 1

A binary string of L bits. A context-sensitive task. (Duplicate String of Delétang et al.,
2023, whose blanks follow the string at once; here a marker comes between.)

Axes: B batch, N symbols of the longest input, A = 2N symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask, symbols_at


class DuplicateStringTask(TransductionTask):
    """Lengths are numbers of bits before they are doubled, L. Symbols: the bits, 0 and 1."""

    num_symbols: ClassVar[int] = 2

    def answer_length(self, length):
        return 2 * length

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the bits."""
        place = jnp.arange(2 * symbols.shape[1])[None]
        twice = symbols_at(symbols, place % length)
        return jnp.where(place < 2 * length, twice, NOTHING)
