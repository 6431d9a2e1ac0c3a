"""The controller: a gated linear recurrence that tracks the phase of the task for the router.

Axes: B batch, T time, D width.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.precision import full
from mocanet_jax.core.recurrence import Form, linear_recurrence

STRETCH = 0.05


class ControllerState(NamedTuple):
    """hidden: float [B, D]."""

    hidden: jax.Array


class Controller(nn.Module):
    """h_t = a_t ⊙ h_{t−1} + (1 − a_t) ⊙ u_t, with u_t linear in z_t and a gate a_t of z_t.

    The form is that of minimal gated recurrences (Feng et al., 2024, "Were RNNs All We
    Needed?", minGRU): gates see the input and not h, so time can be run in parallel.

    The gate is a sigmoid stretched beyond [0, 1] and clipped (as the hard concrete gate of
    Louizos et al., 2018), so that it can be exactly 1. A channel whose gate is 1 on all
    tokens but a few is a latch: it holds what it saw for any length of sequence, where a
    plain sigmoid would let it fade.

    width: D.
    longest_hold: biases start at 0 … longest_hold, evenly, from channels that remember
        about a token to channels that hold; above about 3 a gate starts at exactly 1.
    dtype: of its matrix products (core/precision.py); None for that of the parameters.
    """

    width: int
    longest_hold: float = 6.0
    form: Form = "scan"
    dtype: jnp.dtype | None = None

    @nn.nowrap
    def initial_state(self, batch: int) -> ControllerState:
        return ControllerState(jnp.zeros((batch, self.width)))

    @nn.nowrap
    def flops(self) -> float:
        """Forward FLOPs per token: gate, input and recurrence."""
        return 4.0 * self.width**2 + 2.0 * self.width

    @nn.compact
    def __call__(self, z: jax.Array, mask: jax.Array, state: ControllerState):
        """z: [B, T, D]; mask: bool [B, T]. Returns h, [B, T, D], and the next state."""

        def spread(key, shape, dtype=jnp.float32):
            return jnp.linspace(0.0, self.longest_hold, shape[0], dtype=dtype)

        dense = partial(nn.Dense, self.width, dtype=self.dtype)
        gate = nn.sigmoid(full(dense(bias_init=spread, name="decay")(z)))
        decay = jnp.clip((1 + 2 * STRETCH) * gate - STRETCH, 0.0, 1.0)
        inputs = (1 - decay) * full(dense(name="input")(z))
        live = mask[..., None]
        decay, inputs = jnp.where(live, decay, 1.0), jnp.where(live, inputs, 0.0)
        hidden = linear_recurrence(decay, inputs, state.hidden, self.form)
        return hidden.astype(z.dtype), ControllerState(hidden[:, -1])
