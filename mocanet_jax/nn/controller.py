"""The controller: a gated linear recurrence that tells the router where in the task it is.

Axes: B batch, T time, D width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.recurrence import Form, linear_recurrence


class ControllerState(NamedTuple):
    """hidden: float [B, D]."""

    hidden: jax.Array


class Controller(nn.Module):
    """h_t = a_t ⊙ h_{t−1} + (1 − a_t) ⊙ u_t, with a_t = σ(W z_t + b) and u_t linear in z_t.

    The form is that of minimal gated recurrences (Feng et al., 2024, "Were RNNs All We
    Needed?", minGRU): gates see the input and not h, so time can be run in parallel.

    longest: the biases b start at 0 … log(longest), so that time constants are
        spread evenly in the logarithm from 1 to `longest` tokens.
    """

    longest: float = 1e4
    form: Form = "scan"

    def initial_state(self, batch: int, embedding_dim: int) -> ControllerState:
        return ControllerState(jnp.zeros((batch, embedding_dim)))

    @nn.compact
    def __call__(self, z: jax.Array, mask: jax.Array, state: ControllerState):
        """z: [B, T, D]; mask: bool [B, T]. Returns h, [B, T, D], and the next state."""
        width = z.shape[-1]

        def spread(key, shape, dtype=jnp.float32):
            return jnp.linspace(0.0, jnp.log(self.longest), shape[0], dtype=dtype)

        decay = nn.sigmoid(nn.Dense(width, bias_init=spread, name="decay")(z))
        inputs = (1 - decay) * nn.Dense(width, name="input")(z)
        live = mask[..., None]
        decay, inputs = jnp.where(live, decay, 1.0), jnp.where(live, inputs, 0.0)
        hidden = linear_recurrence(decay, inputs, state.hidden, self.form)
        return hidden, ControllerState(hidden[:, -1])
