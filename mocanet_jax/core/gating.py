"""Gates that open where a part is worth its price.

Axes: B batch, T time, E experts.

A part of the model (an expert, a write, a read) has a logit at every token, and a price: its
share of the compute of everything on. It is engaged where

    logit > λ · price

λ, the price of compute in logits, is the same for all parts and tokens. It is the shadow price
of the budget (budget.py moves it): when compute is dear only what has earned a high logit
stays on, and among parts of equal logit the cheap ones stay.
"""

import chex
import jax
import jax.numpy as jnp

BOUND = 6.0
"""Logits of gates stay within ±BOUND, so that a gate that was shut for long can come back and
a price of BOUND shuts every gate."""


def margin(logits: jax.Array, cost: jax.Array | float) -> jax.Array:
    """Bounded logits above what the part costs; float, the shape of logits.

    cost: λ · price in logits, at least 0, broadcast against logits.
    """
    chex.assert_type(logits, float)
    return BOUND * jnp.tanh(logits / BOUND) - cost


def rounded_gate(margins: jax.Array, rounding: jax.Array | float) -> jax.Array:
    """sigmoid(margin), partly or wholly rounded to 1 where the margin is above 0 and else 0.

    rounding: in [0, 1], broadcast against margins. The gradient is that of the sigmoid for
        every value (straight-through, Bengio et al., 2013).
    """
    soft = jax.nn.sigmoid(margins)
    gate = (1 - rounding) * soft + rounding * jnp.where(margins > 0, 1.0, 0.0)
    return jax.lax.stop_gradient(gate) + (soft - jax.lax.stop_gradient(soft))


def open_gate(margins: jax.Array) -> jax.Array:
    """1 where the margin is above 0, else 0, with the gradient of its sigmoid: a shut gate
    feels what it would gain by opening, for parts whose value is known while they are shut."""
    return rounded_gate(margins, 1.0)


def engaged(value: jax.Array, margins: jax.Array) -> jax.Array:
    """`value` where the margin is above 0, else 0; learns as sigmoid(margin) · value.

    As open_gate, and what is shut out is told, too, what it would be worth: a write that no
    read looks at and a read of what was never written are each worthless alone, and would stay
    shut together for ever.
    """
    soft = jax.nn.sigmoid(margins) * value
    return soft + jax.lax.stop_gradient(jnp.where(margins > 0, value, 0.0) - soft)


def fill(rows: jax.Array) -> jax.Array:
    """How much was found in memory: q / (1 + q) in [0, 1), q the mean square over the last
    axis of rows, float [..., P] → [...]. Near 0 where nothing was written."""
    square = jnp.mean(rows**2, axis=-1)
    return square / (1 + square)


def expert_weight(margins: jax.Array) -> jax.Array:
    """max(0, tanh(margin / 2)), in [0, 1): 0 at the threshold, so that an expert fades in and
    out without a jump (as the ReLU gates of ReMoE, Wang et al., 2024, but bounded).

    The gradient is that of tanh on both sides of the threshold: an expert that computes though
    its weight is 0 is told what it would gain.
    """
    weight = jnp.tanh(0.5 * margins)
    return jnp.where(margins > 0, weight, weight - jax.lax.stop_gradient(weight))
