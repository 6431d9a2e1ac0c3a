"""Addresses of n-grams: which slot of a table the last n tokens are hashed to.

Axes: B batch, T time, R tokens that are carried, O orders.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.rows import taken

BEGINNING = -1
"""Stands for the tokens before a sequence."""


def ngram_addresses(
    tokens: jax.Array, mask: jax.Array, recent: jax.Array, orders: tuple[int, ...], slots: int
) -> tuple[jax.Array, jax.Array]:
    """Slot in [0, slots) of the n-gram that ends at each token, for each order n.

    tokens: int32 [B, T], at least 0. mask: bool [B, T], False for padding, which is skipped
    wherever it stands. recent: int32 [B, R], the unmasked tokens before, with R ≥ max(orders)
    − 1. Returns int32 [B, T, O], of no account where masked, and the last R unmasked tokens.

    The hash is a sum of tokens times odd constants, which differ between places and orders,
    mixed by the finaliser of MurmurHash3 (Appleby, 2011): the same on every machine.
    """
    chex.assert_rank([tokens, mask, recent], 2)
    chex.assert_type([tokens, mask, recent], [int, bool, int])
    carried, longest = recent.shape[1], max(orders)
    if carried < longest - 1:
        raise ValueError(f"{carried} tokens are carried, fewer than {longest} - 1")
    sequence = jnp.concatenate([recent, tokens], axis=1)
    before = previous(jnp.pad(mask, ((0, 0), (carried, 0)), constant_values=True))
    at = jnp.broadcast_to(carried + jnp.arange(tokens.shape[1]), tokens.shape)
    seen = []  # the token itself, the one before it, …
    for _ in range(longest):
        seen.append(taken(sequence, at))
        at = taken(before, at)
    addresses = [_hashed(seen[:n]) % np.uint32(slots) for n in orders]
    return jnp.stack(addresses, axis=-1).astype(jnp.int32), last_unmasked(recent, tokens, mask)


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


def _hashed(tokens: list[jax.Array]) -> jax.Array:
    """uint32 [B, T]."""
    total = jnp.uint32(len(tokens) * 0x9E3779B1 & 0xFFFFFFFF)
    for place, token in enumerate(tokens, start=1):
        factor = np.uint32(0x85EBCA6B + 0x58367ADA * place & 0xFFFFFFFF)
        total = _mixed(total + (token + 1).astype(jnp.uint32) * factor)
    return total


def _mixed(x: jax.Array) -> jax.Array:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return x ^ (x >> 16)
