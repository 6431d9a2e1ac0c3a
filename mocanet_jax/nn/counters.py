"""Counters: where a sequence stands modulo n.

Axes: B batch, T time, D width, C characters of all counters.

A counter of size n is a pointer on a ring of n places that every token turns by 0 … n − 1, as
the token says. It is kept as the characters of the cyclic group, e^(2πi k p / n) for
k = 1 … ⌊n/2⌋ at place p: a turn is then a product of complex numbers, so time can be run in
parallel, and every function of the place is linear in them.

Recurrences whose states decay cannot count modulo n at any length; turning states can (Grazzi
et al., 2025, "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues").
"""

from itertools import groupby
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.precision import full
from mocanet_jax.core.straight_through import hard_choice


class CounterState(NamedTuple):
    """characters: float [B, C, 2], real and imaginary parts; 1 at place 0."""

    characters: jax.Array


class Counters(nn.Module):
    """A counter of each of `sizes`, numbers from 2 on, with a turn linear in z_t.

    dtype: of its matrix products (core/precision.py); None for that of the parameters.
    """

    sizes: tuple[int, ...]
    dtype: jnp.dtype | None = None

    @property
    def _num_characters(self):
        return sum(size // 2 for size in self.sizes)

    def initial_state(self, batch: int) -> CounterState:
        start = jnp.zeros((batch, self._num_characters, 2))
        return CounterState(start.at[..., 0].set(1.0))

    def flops(self, width: int) -> float:
        """Forward FLOPs per token of the logits of turns and of the output."""
        return 2.0 * width * (sum(self.sizes) + 2 * self._num_characters)

    @nn.compact
    def __call__(
        self, z: jax.Array, mask: jax.Array, state: CounterState, hardness: jax.Array | float
    ) -> tuple[jax.Array, CounterState]:
        """z: [B, T, D]; mask: bool [B, T]. hardness: of turns, [] or [B], in [0, 1]; 1 turns by
        whole places. Returns [B, T, D], linear in the characters, and the next state."""
        logits = full(nn.Dense(sum(self.sizes), dtype=self.dtype, name="turn")(z))
        hardness = jnp.broadcast_to(hardness, mask.shape[:1])[:, None, None, None]
        turns, first = [], 0
        for size, equal in groupby(self.sizes):  # few programs, however many counters
            last = first + size * len(list(equal))
            logit = logits[..., first:last].reshape(*mask.shape, -1, size)
            character = np.outer(np.arange(size), 1 + np.arange(size // 2)) / size
            turn = hard_choice(logit, hardness) @ jnp.exp(2j * jnp.pi * character)
            turns.append(turn.reshape(*mask.shape, -1))
            first = last
        turns = jnp.where(mask[..., None], jnp.concatenate(turns, axis=-1), 1.0)
        start = jax.lax.complex(state.characters[..., 0], state.characters[..., 1])
        places = jnp.cumprod(turns.at[:, 0].multiply(start), axis=1)
        places = jnp.stack([places.real, places.imag], axis=-1)
        output = nn.Dense(z.shape[-1], use_bias=False, dtype=self.dtype, name="output")(
            places.reshape(*mask.shape, -1)
        )
        return output, CounterState(places[:, -1])
