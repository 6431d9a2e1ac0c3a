"""Reversal: produce a string from its end.

    input   0 1 1 M · · ·
    target  · · · · 1 1 0

A binary string of L bits. A deterministic context-free task. (Reverse String of Delétang et
al., 2023, whose blanks follow the string at once; here a marker comes between.)

Axes: B batch, N symbols of the longest input, A = N symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at


class ReverseStringTask(TransductionTask):
    """Lengths are numbers of bits, L. Symbols: the bits, 0 and 1."""

    num_symbols: ClassVar[int] = 2

    def answer_length(self, length):
        return length

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the bits."""
        place = jnp.arange(symbols.shape[1])[None]
        return symbols_at(symbols, length - 1 - place)
