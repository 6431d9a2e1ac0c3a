"""The recurrence of an LSTM (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    i, f, g, o = x_t + h_{t−1} U
    c_t = σ(f) ⊙ c_{t−1} + σ(i) ⊙ tanh(g)
    h_t = σ(o) ⊙ tanh(c_t)

The gradient is written by hand: the derivative with respect to U is one product over all steps
at once, where that of a scan adds a product of its own, as large as U, at every step.

Axes: B batch, T time, D width.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class LstmState(NamedTuple):
    """hidden, cell: float [B, D]."""

    hidden: jax.Array
    cell: jax.Array


class Cells(NamedTuple):
    """What the gradient needs of each step: activations of i, f, g and o, float [T, B, 4D], and
    the state after it, float [T, B, D]."""

    gates: jax.Array
    hidden: jax.Array
    cell: jax.Array


def lstm(
    inputs: jax.Array, recurrent: jax.Array, mask: jax.Array, state: LstmState
) -> tuple[jax.Array, LstmState]:
    """inputs: float [B, T, 4D], x. recurrent: float [D, 4D], U. mask: bool [B, T], False for
    steps that leave the state as it is. Returns h, float [B, T, D], and the last state."""
    width = recurrent.shape[0]
    chex.assert_shape(inputs, (*mask.shape, 4 * width))
    chex.assert_shape(recurrent, (width, 4 * width))
    chex.assert_shape([*state], (mask.shape[0], width))
    inputs, live = jnp.swapaxes(inputs, 0, 1), jnp.swapaxes(mask, 0, 1)[..., None]
    hidden, state = _over_time(inputs, recurrent, live, state)
    return jnp.swapaxes(hidden, 0, 1), state


@jax.custom_vjp
def _over_time(inputs, recurrent, live, state):
    """As `lstm`, with time first: inputs [T, B, 4D], live [T, B, 1]; h: [T, B, D]."""

    def step(before, x):
        after, _ = _cell(*x, recurrent, before)
        return after, after.hidden

    state, hidden = jax.lax.scan(step, state, (inputs, live))
    return hidden, state


def _cell(x, live, recurrent, before):
    """The state after one step, and the activations of its gates."""
    i, f, g, o = jnp.split(x + before.hidden @ recurrent, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    cell = f * before.cell + i * g
    hidden = o * jnp.tanh(cell)
    after = LstmState(
        jnp.where(live, hidden, before.hidden), jnp.where(live, cell, before.cell)
    )
    return after, jnp.concatenate([i, f, g, o], axis=-1)


def _forward(inputs, recurrent, live, state):
    def step(before, x):
        after, gates = _cell(*x, recurrent, before)
        return after, Cells(gates, *after)

    last, cells = jax.lax.scan(step, state, (inputs, live))
    return (cells.hidden, last), (recurrent, live, state, cells)


def _backward(residuals, gradients):
    """With dh and dc of the state after a step, at a step that is live:

    dp = dc + dh ⊙ o ⊙ (1 − tanh² c_t),    dc_{t−1} = f ⊙ dp
    dx = [g dp i (1 − i),  c_{t−1} dp f (1 − f),  i dp (1 − g²),  tanh(c_t) dh o (1 − o)]
    dh_{t−1} = dx Uᵀ,    dU = Σ_t h_{t−1}ᵀ dx_t
    """
    recurrent, live, first, cells = residuals
    d_hidden, d_last = gradients
    before = lambda start, after: jnp.concatenate([start[None], after[:-1]])
    hidden_before = before(first.hidden, cells.hidden)

    def step(d_state, now):
        d_output, live, gates, cell, cell_before = now
        d_h = d_state.hidden + d_output
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        squashed = jnp.tanh(cell)
        d_cell = d_state.cell + d_h * o * (1 - squashed**2)
        d_x = jnp.concatenate(
            [
                g * d_cell * i * (1 - i),
                cell_before * d_cell * f * (1 - f),
                i * d_cell * (1 - g**2),
                squashed * d_h * o * (1 - o),
            ],
            axis=-1,
        )
        d_x = jnp.where(live, d_x, 0.0)
        d_before = LstmState(
            jnp.where(live, 0.0, d_h) + d_x @ recurrent.T,
            jnp.where(live, f * d_cell, d_state.cell),
        )
        return d_before, d_x

    steps = (d_hidden, live, cells.gates, cells.cell, before(first.cell, cells.cell))
    d_first, d_inputs = jax.lax.scan(step, d_last, steps, reverse=True)
    d_recurrent = jnp.einsum("tbd,tbe->de", hidden_before, d_inputs)
    return d_inputs, d_recurrent, None, d_first


_over_time.defvjp(_forward, _backward)
