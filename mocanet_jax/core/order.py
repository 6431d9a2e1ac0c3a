"""Memory in order: values that each come with a rank, read by their place among the others.

Axes: B batch, H heads, C chunk, N slots and tokens of a chunk.

A write leaves a value and one number, its rank. What has been written is in the order of
falling rank, and among equals that of writing; a read has a place in that order, a pointer
that moves as those of pointer heads do: 1 is the value of highest rank. It is a priority
queue that learns what comes first, and whose front the reader moves.

The place of j is 1 + Σ_i held_i · [i before j]. Forward it is exact; backward [i before j] has
the slope of σ(rank_i − rank_j) (straight-through), so that a value read at a wrong place moves
its rank, as in the relaxed sorts of Grover et al. (2019, "Stochastic optimization of sorting
networks via continuous relaxations") and Blondel et al. (2020, "Fast differentiable sorting
and ranking").
"""

import jax
import jax.numpy as jnp


def before(ranks: jax.Array, numbers: jax.Array) -> jax.Array:
    """ranks: float [..., N]. numbers: int32 [..., N], no two the same among what is held.

    Returns float [..., N, N], 1 where i, of the last axis but one, comes before j, else 0.
    """
    higher = ranks[..., :, None] - ranks[..., None, :]
    earlier = numbers[..., :, None] < numbers[..., None, :]
    first = ((higher > 0) | ((higher == 0) & earlier)).astype(ranks.dtype)
    soft = jax.nn.sigmoid(higher)
    return first + (soft - jax.lax.stop_gradient(soft))


def by_place(
    query: jax.Array, keys: jax.Array, numbers: jax.Array, held: jax.Array
) -> jax.Array:
    """Scores −κ (place of the value − place of the read)², for associations.recall.

    query: float [B, C, H, 2], place of the read and sharpness κ > 0. keys: float [B, H, N, 1],
        ranks. numbers: int32 [B, H, N]. held: float [B, H, C, N], 1 for what counts, else 0.
    Returns [B, H, C, N].
    """
    place = 1 + jnp.einsum("bhci,bhij->bhcj", held, before(keys[..., 0], numbers))
    read_place, sharpness = jnp.transpose(query, (3, 0, 2, 1))[..., None]
    return -sharpness * (place - read_place) ** 2
