"""Gather and scatter of the rows of a sequence by number.

Each sequence by itself, under vmap, so that the compiler knows that sequences are independent:
a batch split over devices needs no collectives here.

Axes: B batch, N rows, D width.
"""

import jax
import jax.numpy as jnp


def take(rows: jax.Array, at: jax.Array) -> jax.Array:
    """Of one sequence, rows [N, D] at numbers int32 [...] in [0, N): [..., D]."""
    return rows.at[at].get(mode="promise_in_bounds")


def taken(rows: jax.Array, at: jax.Array) -> jax.Array:
    """As `take`, of every sequence: rows [B, N, D] at int32 [B, ...]."""
    return jax.vmap(take)(rows, at)


def placed(values: jax.Array, slots: jax.Array, size: int, empty: int) -> jax.Array:
    """int32 [B, size] with every value at its slot, `empty` elsewhere; a slot of `size` is
    nowhere. values, slots: int32 [B, N]."""
    rows = jnp.full((values.shape[0], size + 1), empty, jnp.int32)
    return jax.vmap(lambda row, at, value: row.at[at].set(value))(rows, slots, values)[:, :-1]
