"""Induction heads: one token is marked and later asked for.

    input   7 2 ! 9 4 4 1 !
    target  · · · · · · · 9        scored on the last step only

L tokens, uniform and independent, one of 14 symbols each, but for a trigger that stands at one
of the first L − 2 places, uniform, and at the last; what followed it the first time is due.
(Olsson et al., 2022; the task of Gu and Dao, 2023, "Mamba", who train it at 256 tokens.)

Axes: B batch, T time = N tokens of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

NUM_SYMBOLS = 14
BLANK, TRIGGER, FIRST = 0, 1, 2
SHORTEST = 3
"""A trigger, what follows it, the trigger."""


class InductionHeadsTask(SequenceTask):
    """Lengths are numbers of tokens, L; below 3 they count as 3. Tokens: a blank, the trigger,
    14 symbols."""

    vocab_size: ClassVar[int] = FIRST + NUM_SYMBOLS
    blank: ClassVar[int] = BLANK
    marker: ClassVar[None] = None

    def num_steps(self, length: int) -> int:
        return max(length, SHORTEST)

    def answer_length(self, length):
        return 1

    def memory_length(self, length: int) -> int:
        """One symbol has to be remembered at any length."""
        return 1

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences, padded to num_steps(fit).

        lengths: inclusive bounds of L; Python or traced ints, at most `fit`.
        """
        length_key, place_key, symbol_key = jax.random.split(key, 3)
        length = jax.random.randint(length_key, (batch, 1), lengths[0], lengths[1] + 1)
        steps = jnp.maximum(length, SHORTEST)
        place = jax.random.randint(place_key, (batch, 1), 0, steps - 2)
        shape = (batch, self.num_steps(fit))
        symbols = jax.random.randint(symbol_key, shape, FIRST, FIRST + NUM_SYMBOLS)
        step = jnp.arange(shape[1])[None]
        mask, scored = step < steps, step == steps - 1
        tokens = jnp.where((step == place) | scored, TRIGGER, symbols)
        answer = jnp.take_along_axis(tokens, place + 1, axis=1)
        targets = jnp.where(scored, answer, BLANK)
        return Batch(jnp.where(mask, tokens, BLANK), targets, scored, mask, length[:, 0])
