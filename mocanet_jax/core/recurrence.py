"""Gated linear recurrence, the sequence memory of the controller.

Axes: B batch, T time, D width.

    h_t = a_t ⊙ h_{t-1} + x_t

is linear in h, so it needs no chunking to train stably and may run as a scan
(fast on CPU) or as a parallel prefix (fast on accelerators; Martin and Cundy,
2018). Both forms share one hand-written gradient: the same recurrence run
backwards in time.
"""

from functools import partial
from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp

Form = Literal["scan", "associative"]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear_recurrence(
    decay: jax.Array, inputs: jax.Array, initial: jax.Array, form: Form = "scan"
) -> jax.Array:
    """All states of h_t = decay_t ⊙ h_{t-1} + inputs_t.

    decay, inputs: float [B, T, D]. initial: float [B, D], h before step 0.
    Returns float [B, T, D].
    """
    chex.assert_rank([decay, inputs, initial], [3, 3, 2])
    chex.assert_equal_shape([decay, inputs])
    chex.assert_shape(initial, (decay.shape[0], decay.shape[2]))
    chex.assert_type([decay, inputs, initial], float)
    return _run(decay, inputs, initial, form)


def _run(decay, inputs, initial, form, reverse=False):
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}, not {form!r}")
    if form == "associative":
        edge = -1 if reverse else 0
        inputs = inputs.at[:, edge].add(decay[:, edge] * initial)
        return jax.lax.associative_scan(_compose, (decay, inputs), axis=1, reverse=reverse)[1]

    def step(h, decay_and_input):
        a, x = decay_and_input
        h = a * h + x
        return h, h

    time_major = (jnp.swapaxes(decay, 0, 1), jnp.swapaxes(inputs, 0, 1))
    _, states = jax.lax.scan(step, initial, time_major, reverse=reverse)
    return jnp.swapaxes(states, 0, 1)


def _compose(earlier, later):
    a1, x1 = earlier
    a2, x2 = later
    return a1 * a2, a2 * x1 + x2


def _forward(decay, inputs, initial, form):
    states = _run(decay, inputs, initial, form)
    return states, (decay, initial, states)


def _backward(form, residuals, d_states):
    """g_t = dL/dh_t + decay_{t+1} g_{t+1}; then dx_t = g_t and da_t = g_t h_{t-1}."""
    decay, initial, states = residuals
    next_decay = jnp.concatenate([decay[:, 1:], jnp.zeros_like(decay[:, :1])], axis=1)
    d_inputs = _run(next_decay, d_states, jnp.zeros_like(initial), form, reverse=True)
    previous = jnp.concatenate([initial[:, None], states[:, :-1]], axis=1)
    return d_inputs * previous, d_inputs, decay[:, 0] * d_inputs[:, 0]


linear_recurrence.defvjp(_forward, _backward)
