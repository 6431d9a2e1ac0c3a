"""Gates that open where a part's logit is above a threshold.

Axes: B batch, T time, E experts.

A part of the model (an expert, a write, a read) has a logit at every token, and a share of the
FLOPs of everything on. It is engaged where

    logit > λ · share

The multiplier λ ≥ 0, in logits, is the same for all parts and tokens. It is the dual variable
of the budget (budget.py updates it): where it is high only parts of high logits stay on, and
among parts of equal logits those of few FLOPs."""

import chex
import jax
import jax.numpy as jnp

BOUND = 6.0
"""Logits of gates stay within ±BOUND, so that a gate that was closed for long can open again,
and a threshold of BOUND closes every gate."""


def margin(logits: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Bounded logits minus the threshold; float, the shape of logits.

    threshold: λ · share, in logits, at least 0, broadcast against logits.
    """
    chex.assert_type(logits, float)
    return BOUND * jnp.tanh(logits / BOUND) - threshold


def engaged(value: jax.Array, margins: jax.Array) -> jax.Array:
    """`value` where the margin is above 0, else 0; the gradient is that of
    sigmoid(margin) · value.

    So the value, too, receives a gradient where the gate is closed: a write that is never read
    and a read of what was never written are each of no use alone, and would stay closed
    together for ever.
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
    its weight is 0 receives the gradient of what it would contribute.
    """
    weight = jnp.tanh(0.5 * margins)
    return jnp.where(margins > 0, weight, weight - jax.lax.stop_gradient(weight))
