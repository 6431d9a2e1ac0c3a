"""Selective copying: produce the symbols that stand among noise, in their order.

    input   - 5 - - 9 3 - M · · ·
    target  · · · · · · · · 5 9 3

L tokens, of which `payload` at places drawn without replacement are one of 14 symbols and all
others the same word of noise. (Jing et al., 2019, "Gated Orthogonal Recurrent Units", denoising
task; the sizes are those of Gu and Dao, 2023, "Mamba": 16 words and 16 symbols, among 4,096
tokens there.)

Axes: B batch, N tokens of the longest input, A = payload symbols of the longest answer.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask

NOISE = 14


@dataclass(frozen=True)
class SelectiveCopyingTask(TransductionTask):
    """Lengths are numbers of tokens, L; a shorter input than the payload is all payload.
    Symbols: 14 to copy, then NOISE.

    Attributes:
        payload: symbols to copy, at least 1
    """

    payload: int

    num_symbols: ClassVar[int] = NOISE + 1
    names: ClassVar[dict[int, str]] = {NOISE: "-"}

    def __post_init__(self):
        super().__post_init__()
        if self.payload < 1:
            raise ValueError(f"payload must be at least 1, not {self.payload}")

    def answer_length(self, length):
        if isinstance(length, int):
            return min(length, self.payload)
        return jnp.minimum(length, self.payload)

    def memory_length(self, length: int) -> int:
        """The payload has to be remembered, whatever stands between."""
        return self.answer_length(length)

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], NOISE but for the payload."""
        place_key, symbol_key = jax.random.split(key)
        shape = len(length), fit
        order = jax.random.uniform(place_key, shape)
        inside = jnp.arange(fit)[None] < length
        rank = jnp.argsort(jnp.argsort(jnp.where(inside, order, 2.0), axis=1), axis=1)
        symbols = jax.random.randint(symbol_key, shape, 0, NOISE)
        return jnp.where(rank < self.payload, symbols, NOISE)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], the symbols."""
        kept = (symbols != NOISE) & (symbols != NOTHING)
        first = jnp.argsort(~kept, axis=1, stable=True)
        ordered = jnp.take_along_axis(jnp.where(kept, symbols, NOTHING), first, axis=1)
        return ordered[:, : self.payload]
