"""Priority sort: symbols with priorities; produce the symbols, highest priority first.

    input   5 p2 9 p7 3 p4 M · · ·
    target  · ·  · ·  · ·  · 9 3 5

L symbols, uniform and independent, each followed by a word for its priority; priorities are
uniform and no two are the same. (The priority sort task of Graves et al., 2014, with symbols
for bit vectors and 64 words for a priority that they give as a number. There the answer is
the 16 highest of 20; here it is all.)

Axes: B batch, N symbols of the longest input, A = N/2 symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.distinct import distinct
from mocanet_jax.tasks.languages.transduction import TransductionTask

NUM_SORTED, NUM_PRIORITIES = 125, 64
"""Symbols that are sorted, those of the copy task, and priorities."""


class PrioritySortTask(TransductionTask):
    """Lengths are numbers of symbols to sort, L, at most 64.

    Symbols: 125 to sort, then the priorities, rising.
    """

    num_symbols: ClassVar[int] = NUM_SORTED + NUM_PRIORITIES
    names: ClassVar[dict[int, str]] = {
        NUM_SORTED + priority: f"p{priority}" for priority in range(NUM_PRIORITIES)
    }
    limit: ClassVar[float] = NUM_PRIORITIES

    def input_length(self, length):
        return 2 * length

    def answer_length(self, length):
        return length

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], symbols and priorities in turn."""
        batch, (symbol_key, priority_key) = len(length), jax.random.split(key)
        symbols = jax.random.randint(symbol_key, (batch, fit), 0, NUM_SORTED)
        priorities = NUM_SORTED + distinct(priority_key, batch, fit, NUM_PRIORITIES)
        return jnp.stack([symbols, priorities], axis=2).reshape(batch, -1)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the symbols without their priorities."""
        falling = jnp.argsort(-symbols[:, 1::2], axis=1)  # NOTHING comes last
        return jnp.take_along_axis(symbols[:, ::2], falling, axis=1)
