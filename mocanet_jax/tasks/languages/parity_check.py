"""Parity: is the number of ones odd?

    input   1 0 1 1 M ·
    target  · · · · · 1        three ones

A binary string of L bits; the answer is 1 for an odd number of ones and 0 for an even one.
A regular language. (Parity Check of Delétang et al., 2023, who score the answer at a blank
directly after the string; here a marker comes between.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask


class ParityCheckTask(TransductionTask):
    """Lengths are numbers of bits, L. Symbols: the bits, 0 and 1."""

    num_symbols: ClassVar[int] = 2

    def answer_length(self, length):
        return 1

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1], a bit."""
        return jnp.sum(symbols == 1, axis=1, keepdims=True) % 2
