"""Decisions that are soft while they are searched for, and whole from then on.

A search needs slopes, and a program that is to hold over any length must not drift, so that
numbers such as the shift of a pointer are rounded once there is something to hold on to. What
stands halfway then is a danger: the gradient, which is that of the soft number
(straight-through, Bengio et al., 2013), does not see the step, and drives numbers up to it
and over, again and again. `indecision` tells how near they are, to be paid for in the loss, as
the commitment loss of van den Oord et al. (2017, "Neural discrete representation learning",
eq. 3) is.
"""

import chex
import jax
import jax.numpy as jnp


def rounded(numbers: jax.Array, rounding: jax.Array | float) -> jax.Array:
    """Numbers, partly or wholly rounded to whole ones; float, the shape of numbers.

    rounding: in [0, 1], broadcast against numbers. The gradient is that of numbers for every
        value (straight-through).
    """
    chex.assert_type(numbers, float)
    return numbers + rounding * jax.lax.stop_gradient(jnp.round(numbers) - numbers)


def rounded_choice(logits: jax.Array, rounding: jax.Array | float) -> jax.Array:
    """A softmax over n choices, partly or wholly rounded to the likeliest.

    logits: float [..., n]. rounding: in [0, 1], broadcast against them; 0 gives probabilities,
        1 one choice. The gradient is that of the softmax for every value (straight-through).
    Returns float [..., n], of sum 1.
    """
    chex.assert_type(logits, float)
    soft = jax.nn.softmax(logits, axis=-1)
    choice = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=soft.dtype)
    return soft + rounding * jax.lax.stop_gradient(choice - soft)


def indecision(numbers: jax.Array) -> jax.Array:
    """How far numbers are from whole, 2 |x − round x|: 0 where they are, 1 halfway between two.
    Float, the shape of numbers. The gradient leads away from halfway, as strongly near as far
    from it."""
    chex.assert_type(numbers, float)
    return 2 * jnp.abs(numbers - jax.lax.stop_gradient(jnp.round(numbers)))
