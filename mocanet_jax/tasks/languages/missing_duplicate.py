"""Missing duplicate: which bit is hidden in a string that is written twice?

    input   0 1 1 0 _ 1 M ·
    target  · · · · · · · 1        0 1 1 twice, with its fifth symbol hidden

A binary string of L/2 bits, twice, with one of the L symbols hidden, uniform; the answer is
what it hides. A context-sensitive task. (Missing Duplicate of Delétang et al., 2023, who score
the answer at a blank directly after the string; here a marker comes between. An odd
L counts for the even number above it, where they fill up the even number below.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at

HIDDEN = 2


class MissingDuplicateTask(TransductionTask):
    """Lengths are numbers of symbols of both copies, L. Symbols: 0, 1 and HIDDEN."""

    num_symbols: ClassVar[int] = 3
    names: ClassVar[dict[int, str]] = {HIDDEN: "_"}

    def input_length(self, length):
        return (length + 1) // 2 * 2

    def answer_length(self, length):
        return 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], with HIDDEN at one place of each input."""
        bit_key, hidden_key = jax.random.split(key)
        size, place = self.input_length(length), jnp.arange(self.input_length(fit))[None]
        bits = jax.random.randint(bit_key, (len(length), place.size), 0, 2)
        hidden = jax.random.randint(hidden_key, size.shape, 0, size)
        return jnp.where(place == hidden, HIDDEN, symbols_at(bits, place % (size // 2)))

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1], a bit: the one at the same place of the other copy."""
        size = self.input_length(length)
        hidden = jnp.argmax(symbols == HIDDEN, axis=1, keepdims=True)
        return symbols_at(symbols, (hidden + size // 2) % size)
