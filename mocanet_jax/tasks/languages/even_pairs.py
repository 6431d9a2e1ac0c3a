"""Even pairs: is the number of changes from one bit to the next odd?

    input   0 1 1 0 1 M ·
    target  · · · · · · 1        0 1, 1 0 and 0 1: three changes

A binary string of L bits; the answer is 1 where the pairs 0 1 and 1 0 in it are odd in number
and 0 where they are even. Since every change turns the bit, the number is odd just where the
last bit differs from the first. A regular language. (Even Pairs of Delétang et al., 2023, who
score the answer at a blank directly after the string; here a marker comes between.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at


class EvenPairsTask(TransductionTask):
    """Lengths are numbers of bits, L. Symbols: the bits, 0 and 1."""

    num_symbols: ClassVar[int] = 2

    def answer_length(self, length):
        return 1

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1], a bit."""
        return (symbols[:, :1] != symbols_at(symbols, length - 1)).astype(jnp.int32)
