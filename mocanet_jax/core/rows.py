"""Gather and scatter of the rows of a sequence by number, rings of rows, and chunks.

Each sequence by itself, under vmap, so that the compiler knows that sequences are independent:
a batch split over devices needs no collectives here.

Axes: B batch, N rows, D width.
"""

from collections.abc import Callable
from typing import Any

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


def in_front(chosen: jax.Array, room: int) -> tuple[jax.Array, jax.Array]:
    """The chosen of each row moved to its front, in order, as far as there is room. chosen:
    bool [B, N].

    Returns which of the row stands at each place, int32 [B, room], N where none does; and the
    place of each, int32 [B, N], room for those that are not chosen or find none."""
    length = chosen.shape[1]
    count = jnp.cumsum(chosen, axis=1) - 1
    place = jnp.where(chosen & (count < room), count, room)
    number = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), place.shape)
    return placed(number, place, room, length), place


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


def held_in_ring(count: jax.Array, num_slots: int) -> jax.Array:
    """The latest write of every slot of a ring, int32 [..., S], after `count` writes, int32
    [...], where write n, from 1 on, goes to slot (n − 1) mod S: the greatest number up to
    `count` of its remainder, at most 0 for a slot that is empty."""
    count = count[..., None]
    slots = jnp.arange(num_slots).reshape((1,) * (count.ndim - 1) + (-1,))
    return count - jnp.mod(count - 1 - slots, num_slots)


def scan_chunks(run: Callable, state: Any, sequences: Any, chunk_size: int) -> tuple[Any, Any]:
    """Runs sequences, a pytree of arrays [B, T, …], in chunks of C steps, one after another.

    run: (state, chunk [B, C, …]) → (state', outputs [B, C, …]). The last chunk is padded with
    zeros. Returns the last state, and the outputs [B, T, …].
    """
    length = jax.tree.leaves(sequences)[0].shape[1]
    size = min(chunk_size, length)
    chunks = -(-length // size)

    def by_chunk(x):  # [B, T, …] → [chunks, B, C, …]
        x = jnp.pad(x, ((0, 0), (0, chunks * size - length)) + ((0, 0),) * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(x.shape[0], chunks, size, *x.shape[2:]), 1, 0)

    def whole(x):  # [chunks, B, C, …] → [B, T, …]
        x = jnp.moveaxis(x, 0, 1)
        return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]

    state, outputs = jax.lax.scan(run, state, jax.tree.map(by_chunk, sequences))
    return state, jax.tree.map(whole, outputs)
