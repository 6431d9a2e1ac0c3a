"""Where to write and where to read: sparse addresses on a memory of slots.

Axes: B batch, T time, H memory heads, S slots, A active slots per access.

An address names A distinct slots and gives each a non-negative weight; the
weights have unit L2 norm, so that writing with strength 1 and reading the same
address returns the written value exactly (memory.py).

Two kinds of address are built here. A *location* address follows a pointer on
a ring of slots, like the shift addressing of the Neural Turing Machine (Graves
et al., 2014, eq. 8) but with the position itself as the state instead of a
distribution over slots; nothing in it depends on S, so a memory can be
enlarged after training. A *content* address takes the slots whose keys score
highest, as in sparse access memory (Rae et al., 2016, section 3.1).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

SHIFTS = (-1, 0, 1)


class Address(NamedTuple):
    """A sparse address.

    indices: int32 [..., A], distinct slots in [0, S).
    weights: float [..., A], non-negative, unit L2 norm over A.
    """

    indices: jax.Array
    weights: jax.Array


def unit_norm(weights: jax.Array) -> jax.Array:
    """Scales non-negative weights [..., A], not all zero, to unit L2 norm."""
    return weights * jax.lax.rsqrt(jnp.sum(weights**2, axis=-1, keepdims=True))


def expected_shift(logits: jax.Array) -> jax.Array:
    """Mean of a softmax over the shifts -1, 0, +1.

    logits: float [..., 3], in the order of SHIFTS. Returns float [...], in [-1, 1] slots.
    """
    chex.assert_type(logits, float)
    chex.assert_axis_dimension(logits, -1, len(SHIFTS))
    return jax.nn.softmax(logits, axis=-1) @ jnp.array(SHIFTS, logits.dtype)


def advance(pointer: jax.Array, shifts: jax.Array, num_slots: int):
    """Moves pointers along a ring; a cumulative sum, so parallel over time.

    pointer: float [B, H], the position before the first shift, in slots.
    shifts: float [B, T, H], slots to move at each step.
    Returns positions after each shift, float [B, T, H], not wrapped, and the
    last pointer, float [B, H], wrapped into [0, num_slots] (rounding can reach the end).
    """
    chex.assert_rank([pointer, shifts], [2, 3])
    chex.assert_shape(shifts, (pointer.shape[0], None, pointer.shape[1]))
    chex.assert_type([pointer, shifts], float)
    positions = pointer[:, None] + jnp.cumsum(shifts, axis=1)
    return positions, jnp.mod(positions[:, -1], num_slots)


def advance_above(pointer: jax.Array, shifts: jax.Array) -> jax.Array:
    """Moves pointers that stay at 0 where a shift would take them below.

    pointer: float [B, H], at least 0. shifts: float [B, T, H].
    Returns positions after each shift, float [B, T, H]: a cumulative sum, lifted by the most
    that it fell below 0 so far, which is the same (reflection at 0) and parallel over time.
    """
    chex.assert_rank([pointer, shifts], [2, 3])
    free = pointer[:, None] + jnp.cumsum(shifts, axis=1)
    return free - jnp.minimum(jax.lax.cummin(free, axis=1), 0.0)


def loop(position: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where a pointer is that from the last of slots 1 … length goes on at the first.

    position: float, in slots, any number; those below 1 are before the loop and stay.
    length: float ≥ 0, the same shape; a loop of nothing is before its first slot.
    Returns the slot, the distance from the loop's start, negative before it, and the length of
    a wrap, at least 1; all in slots, of the same shape.

    A wrap ends half a slot behind the last: of pointers that are not whole, what is a little
    short of the next wrap is there already, or noise would decide whether it is read.
    """
    start, wrap = jnp.minimum(length, 1.0), jnp.maximum(length, 1.0)
    distance = position - start
    inside = start - 0.5 + jnp.mod(distance + 0.5, wrap)
    return jnp.where(distance < -0.5, position, inside), distance, wrap


def ring_address(
    position: jax.Array, num_slots: int, num_active: int, sharpness: jax.Array
) -> Address:
    """The A slots nearest to a position on a ring, weighted by exp(-sharpness d²).

    position: float [...], in slots, any real number; slot s sits at s + n S.
    num_active: A, in [1, S].
    sharpness: κ ≥ 0, float [...] as position; d is the distance in slots.
    """
    _check_active(num_active, num_slots)
    chex.assert_equal_shape([position, sharpness])
    chex.assert_type([position, sharpness], float)
    shift_to_centre = 0.5 * (num_active % 2)
    nearest = jnp.floor(position + shift_to_centre)[..., None]
    offsets = jnp.arange(num_active) - (num_active - 1) // 2
    slots = jax.lax.stop_gradient(
        nearest + jnp.expand_dims(offsets, tuple(range(position.ndim)))
    )
    scores = -sharpness[..., None] * (position[..., None] - slots) ** 2
    indices = jnp.mod(slots, num_slots).astype(jnp.int32)
    return Address(indices, _unit_exp(scores))


def content_address(scores: jax.Array, num_active: int, temperature: float) -> Address:
    """The A slots of highest score, weighted by exp(score / temperature).

    scores: float [..., S].
    num_active: A, in [1, S].
    temperature: > 0; the limit 0 puts all weight on the best slot.
    """
    chex.assert_type(scores, float)
    _check_active(num_active, scores.shape[-1])
    best, indices = jax.lax.top_k(scores, num_active)
    return Address(indices, _unit_exp(best / temperature))


def dense_weights(address: Address, num_slots: int) -> jax.Array:
    """The same address as a weight for every slot: float [..., S], A non-zero."""
    chex.assert_equal_shape(address)
    hit = jax.nn.one_hot(address.indices, num_slots, dtype=bool)
    return jnp.sum(jnp.where(hit, address.weights[..., None], 0), axis=-2)


def _unit_exp(scores):
    """exp(scores) scaled to unit L2 norm over the last axis, without overflow or underflow."""
    highest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    return unit_norm(jnp.exp(scores - highest))


def _check_active(num_active: int, num_slots: int) -> None:
    if not 1 <= num_active <= num_slots:
        raise ValueError(
            f"an address needs between 1 and {num_slots} active slots, not {num_active}"
        )
