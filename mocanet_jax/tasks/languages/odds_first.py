"""Odds first: produce what stands at odd places of a string, then what stands at even ones.

    input   0 1 1 0 1 M · · · · ·
    target  · · · · · · 0 1 1 1 0        places 1, 3, 5, then 2, 4

A binary string of L bits, places counted from 1. A context-sensitive task. (Odds First of
Delétang et al., 2023, as their text defines it; their code counts places from 0 and so begins
with the second bit. Their blanks follow the string at once; here a marker comes between.)

Axes: B batch, N symbols of the longest input, A = N symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at


class OddsFirstTask(TransductionTask):
    """Lengths are numbers of bits, L. Symbols: the bits, 0 and 1."""

    num_symbols: ClassVar[int] = 2

    def answer_length(self, length):
        return length

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the bits."""
        place, odds = jnp.arange(symbols.shape[1])[None], (length + 1) // 2
        source = jnp.where(place < odds, 2 * place, 2 * (place - odds) + 1)
        return symbols_at(symbols, source)
