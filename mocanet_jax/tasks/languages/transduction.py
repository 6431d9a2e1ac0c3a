"""Tasks that turn one string into another; a marker marks the start of the answer.

    input   x x x M · · ·
    target  · · · · y y ·        scored on the steps of the answer only

A string is read symbol by symbol, then one marker; from the next step on the answer has to
be produced, a symbol a step, from blanks. The length of the string is not given in
advance, and nothing of it is visible while it is scored.

A subclass defines the strings and their answers, in symbols: numbers from 0 on. Tokens are
BLANK, MARKER and, from FIRST on, the symbols.

Axes: B batch, T time, N symbols of the longest input, A symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

BLANK, MARKER, FIRST = 0, 1, 2
NOTHING = -1
"""In place of a symbol where a string has ended."""


class TransductionTask(SequenceTask):
    """A subclass adds `num_symbols`, `answer_length` and `answer`, and where its inputs are not
    simply `length` symbols, uniform and independent, `draw` and `input_length`.

    Lengths may be numbers of Python, where sizes of arrays come from them, or int32 [B, 1]:
    `input_length` and `answer_length` use arithmetic that both know.
    """

    num_symbols: ClassVar[int]
    names: ClassVar[dict[int, str]] = {}
    """Of symbols that are not called by their numbers, for pictures."""
    blank: ClassVar[int] = BLANK
    marker: ClassVar[int] = MARKER

    @property
    def vocab_size(self) -> int:
        return FIRST + self.num_symbols

    def symbol(self, token: int) -> str:
        return self.names.get(token - FIRST, str(token - FIRST))

    def input_length(self, length):
        """Symbols of an input of this length; never falls as the length grows."""
        return length

    def answer_length(self, length):
        """Symbols of the longest answer to it; never falls as the length grows."""
        raise NotImplementedError

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """Inputs of these lengths, int32 [B, 1]: symbols, int32 [B, N = input_length(fit)] in
        [0, num_symbols); those beyond an input's end are ignored."""
        shape = (len(length), self.input_length(fit))
        return jax.random.randint(key, shape, 0, self.num_symbols)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """What has to be produced, from the input alone.

        symbols: int32 [B, N], NOTHING beyond the input's end. length: int32 [B, 1].
        Returns int32 [B, A], in [0, num_symbols) up to the answer's end, then NOTHING.
        """
        raise NotImplementedError

    def num_steps(self, length: int) -> int:
        """T that fits input, marker and answer."""
        return self.input_length(length) + 1 + self.answer_length(length)

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences, padded to num_steps(fit).

        lengths: inclusive bounds; Python or traced ints, at most `fit`.
        """
        length_key, symbol_key = jax.random.split(key)
        length = jax.random.randint(length_key, (batch, 1), lengths[0], lengths[1] + 1)
        marker = self.input_length(length)
        symbols = self.draw(symbol_key, length, fit)
        place = jnp.arange(symbols.shape[1])[None]
        symbols = jnp.where(place < marker, symbols, NOTHING)

        step = jnp.arange(self.num_steps(fit))[None]
        read = symbols_at(symbols, jnp.broadcast_to(step, (batch, step.size)))
        answer = symbols_at(self.answer(symbols, length), step - marker - 1)
        scored = answer != NOTHING
        tokens = jnp.where(step == marker, MARKER, as_tokens(read))
        mask = (step <= marker) | scored
        return Batch(tokens, as_tokens(answer), scored, mask, length[:, 0])


def symbols_at(symbols: jax.Array, places: jax.Array) -> jax.Array:
    """symbols: int32 [B, N]. places: int32 [B, A].

    Returns int32 [B, A], NOTHING for places outside [0, N).
    """
    end = symbols.shape[1]
    places = jnp.where(places < 0, end, places)  # or they would count from the end
    return jnp.take_along_axis(symbols, places, axis=1, mode="fill", fill_value=NOTHING)


def as_tokens(symbols: jax.Array) -> jax.Array:
    """BLANK for NOTHING; the shape stays."""
    return jnp.where(symbols == NOTHING, BLANK, FIRST + symbols)
