"""Bucket sort: produce a string's symbols in rising order.

    input   3 0 4 0 M · · · ·
    target  · · · · · 0 0 3 4

L symbols from 0 to 4, uniform. A context-sensitive task. (Bucket Sort of Delétang et al.,
2023, whose blanks follow the string at once; here a marker comes between.)

Axes: B batch, N symbols of the longest input, A = N symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask


class BucketSortTask(TransductionTask):
    """Lengths are numbers of symbols, L. Symbols: 0 to 4."""

    num_symbols: ClassVar[int] = 5

    def answer_length(self, length):
        return length

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the symbols."""
        beyond = self.num_symbols  # NOTHING would come first
        rising = jnp.sort(jnp.where(symbols == NOTHING, beyond, symbols), axis=1)
        return jnp.where(rising == beyond, NOTHING, rising)
