"""Repeat copy: produce a payload a given number of times, then an end symbol.

    input   5 9 x3 M · · · · · · ·
    target  · · ·  · 5 9 5 9 5 9 E

A payload of L symbols, uniform and independent, then one of max_repeats words for a number of
repeats, uniform; the answer is the payload that many times and the end symbol. (The repeat
copy task of Graves et al., 2014, with symbols for bit vectors, and words for a number that
they give as one input's value, so that there is no number beyond those trained on.)

Training begins with the first repeats of every answer: all that can be learned of repeating
is in two of them, and ten at once are a sum of symbols that few models leave.

Axes: B batch, N symbols of the longest input, A symbols of the longest answer.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask, symbols_at
from mocanet_jax.tasks.synthetic.sequence import Batch

NUM_PAYLOAD = 125
"""Symbols that payloads are made of, those of the copy task."""


@dataclass(frozen=True)
class RepeatCopyTask(TransductionTask):
    """Lengths are those of the payload, L. As training's lengths grow from first_longest to
    longest it is answers that do, and payloads are of all lengths.

    Symbols: 125 for payloads, then the words for 1 to max_repeats, then the end symbol.

    Attributes:
        max_repeats: largest number of repeats, at least 1
    """

    max_repeats: int

    def __post_init__(self):
        super().__post_init__()
        if self.max_repeats < 1:
            raise ValueError(f"max_repeats must be at least 1, not {self.max_repeats}")

    @property
    def num_symbols(self) -> int:
        return self.end + 1

    @property
    def end(self) -> int:
        """The end symbol."""
        return NUM_PAYLOAD + self.max_repeats

    def training_batch(self, key: jax.Array, batch: int, lengths: tuple) -> Batch:
        """Of all lengths; what grows is the number of repeats that are scored."""
        whole = self.sample(key, batch, (lengths[0], self.longest), self.longest)
        repeats = -(-self.max_repeats * lengths[1] // self.longest)
        return cut(whole, repeats)

    def input_length(self, length):
        return length + 1

    def answer_length(self, length):
        return self.max_repeats * length + 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], a payload and the word for its repeats."""
        payload_key, repeats_key = jax.random.split(key)
        payload = jax.random.randint(payload_key, (len(length), fit + 1), 0, NUM_PAYLOAD)
        word = jax.random.randint(repeats_key, length.shape, NUM_PAYLOAD, self.end)
        return jnp.where(jnp.arange(fit + 1)[None] == length, word, payload)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the payload repeated, then the end symbol."""
        place = jnp.arange(self.answer_length(symbols.shape[1] - 1))[None]
        repeats = symbols_at(symbols, length) - NUM_PAYLOAD + 1
        end = jnp.where(place == repeats * length, self.end, NOTHING)
        payload = symbols_at(symbols, place % length)
        return jnp.where(place < repeats * length, payload, end)


def cut(batch: Batch, repeats: jax.Array | int) -> Batch:
    """Sequences that end with the first symbol after so many repeats, if not before."""
    answered = jnp.arange(batch.tokens.shape[1])[None] - batch.length[:, None] - 2
    early = answered <= repeats * batch.length[:, None]
    return batch._replace(scored=batch.scored & early, mask=batch.mask & early)
