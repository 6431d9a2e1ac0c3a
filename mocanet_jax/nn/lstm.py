"""A layer of LSTM (Hochreiter and Schmidhuber, 1997; forget gates of Gers et al., 2000).

    i, f, g, o = W z_t + U h_{t−1} + b
    c_t = σ(f) ⊙ c_{t−1} + σ(i) ⊙ tanh(g)
    h_t = σ(o) ⊙ tanh(c_t)

Axes: B batch, T time, D width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

FORGET_START = 1.0
"""Initial bias of the forget gate (Jozefowicz et al., 2015)."""


class LstmState(NamedTuple):
    """hidden, cell: float [B, D]."""

    hidden: jax.Array
    cell: jax.Array


class Lstm(nn.Module):
    """One layer as a scan over time; what depends on the input alone is computed before it."""

    width: int

    @nn.nowrap
    def flops(self) -> float:
        """Forward FLOPs per token: two products with 4D outputs, and three multiplications and
        a sum in each cell."""
        return 16.0 * self.width**2 + 4.0 * self.width

    def initial_state(self, batch: int, num_slots: int | None = None) -> LstmState:
        return LstmState(jnp.zeros((batch, self.width)), jnp.zeros((batch, self.width)))

    @nn.compact
    def __call__(
        self, z: jax.Array, mask: jax.Array, state: LstmState
    ) -> tuple[jax.Array, LstmState]:
        """z: [B, T, D]; mask: bool [B, T]. Returns h, [B, T, D], and the next state."""
        gates = nn.Dense(4 * self.width, bias_init=_remembering, name="input")(z)
        recurrent = self.param("recurrent", _orthogonal, (self.width, 4 * self.width))

        def step(before, x):
            gates, live = x
            i, f, g, o = jnp.split(gates + before.hidden @ recurrent, 4, axis=-1)
            cell = nn.sigmoid(f) * before.cell + nn.sigmoid(i) * jnp.tanh(g)
            hidden = nn.sigmoid(o) * jnp.tanh(cell)
            after = LstmState(
                jnp.where(live, hidden, before.hidden), jnp.where(live, cell, before.cell)
            )
            return after, after.hidden

        time_major = (jnp.swapaxes(gates, 0, 1), jnp.swapaxes(mask, 0, 1)[..., None])
        state, hidden = jax.lax.scan(step, state, time_major)
        return jnp.swapaxes(hidden, 0, 1), state


def _remembering(key, shape, dtype=jnp.float32):
    """0, and FORGET_START for the second quarter."""
    return jnp.repeat(jnp.array([0.0, FORGET_START, 0.0, 0.0], dtype), shape[0] // 4)


def _orthogonal(key, shape, dtype=jnp.float32):
    """An orthogonal [D, D] for each of the four gates (Saxe et al., 2013)."""
    square = nn.initializers.orthogonal()
    parts = [square(k, (shape[0], shape[0]), dtype) for k in jax.random.split(key, 4)]
    return jnp.concatenate(parts, axis=1)
