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


def last_unmasked(recent: jax.Array, new: jax.Array, mask: jax.Array) -> jax.Array:
    """The last R of `recent` [B, R, …] and then the unmasked ones of `new` [B, T, …]."""
    carried, length = recent.shape[1], mask.shape[1]
    live = jnp.cumsum(mask, axis=1)
    # The place of the r-th of all: below R − among `recent`, else where `live` first says so.
    wanted = jnp.sum(mask, axis=1, keepdims=True) + jnp.arange(carried)[None]
    search = jax.vmap(lambda live, wanted: jnp.searchsorted(live, wanted - carried + 1))
    place = jnp.where(wanted < carried, wanted, carried + search(live, wanted))
    return taken(jnp.concatenate([recent, new], axis=1), jnp.minimum(place, carried + length))


def previous(mask: jax.Array) -> jax.Array:
    """Place of the last True before each place of mask [B, N], itself not counted; 0 where
    there is none."""
    places = jnp.where(mask, jnp.arange(mask.shape[1])[None], 0)
    last = jax.lax.cummax(places.astype(jnp.int32), axis=1)
    return jnp.pad(last[:, :-1], ((0, 0), (1, 0)))
