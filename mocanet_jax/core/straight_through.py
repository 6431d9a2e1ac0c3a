"""Decisions that are soft while they are searched for, and hard from then on.

A search needs slopes, and a program that is to hold over any length must not drift, so that
numbers such as the shift of a pointer are made hard once there is something to hold on to. A
number halfway between two hard values is then a danger: its gradient, which is that of the soft
number (straight-through, Bengio et al., 2013), does not see the step, and drives it across,
again and again. `quantisation_penalty` is the distance, to be added to the loss, as the
commitment loss of van den Oord et al. (2017, "Neural discrete representation learning", eq. 3).
"""

import chex
import jax
import jax.numpy as jnp


def straight_through(
    soft: jax.Array, hard: jax.Array, hardness: jax.Array | float
) -> jax.Array:
    """(1 − hardness) · soft + hardness · hard, with the gradient of `soft`.

    soft, hard: float, of one shape. hardness: in [0, 1], broadcast against them.
    """
    return soft + hardness * jax.lax.stop_gradient(hard - soft)


def hard_round(numbers: jax.Array, hardness: jax.Array | float) -> jax.Array:
    """Numbers, partly or wholly rounded to integers; float, the shape of numbers."""
    chex.assert_type(numbers, float)
    return straight_through(numbers, jnp.round(numbers), hardness)


def hard_choice(logits: jax.Array, hardness: jax.Array | float) -> jax.Array:
    """A softmax over n choices (hardness 0), or the one-hot argmax (1).

    logits: float [..., n]. Returns float [..., n], of sum 1.
    """
    chex.assert_type(logits, float)
    soft = jax.nn.softmax(logits, axis=-1)
    choice = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=soft.dtype)
    return straight_through(soft, choice, hardness)


def hard_gate(margins: jax.Array, hardness: jax.Array | float = 1.0) -> jax.Array:
    """sigmoid(margin) (hardness 0), or 1 where the margin is above 0 and else 0 (1). A closed
    gate receives the gradient of what it would gain by opening."""
    soft = jax.nn.sigmoid(margins)
    return straight_through(soft, jnp.where(margins > 0, 1.0, 0.0), hardness)


def quantisation_penalty(numbers: jax.Array) -> jax.Array:
    """2 |x − round x|: 0 for integers, 1 halfway between two; float, the shape of numbers. The
    gradient leads away from halfway, as strongly near as far from it."""
    chex.assert_type(numbers, float)
    return 2 * jnp.abs(numbers - jax.lax.stop_gradient(jnp.round(numbers)))
