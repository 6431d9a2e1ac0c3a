"""An association head whose slots are taken from the entry that was least recently of use.

    mocanet train examples/least_recently_used_config.py --workdir=runs/least_recently_used

An entry is of use when it is written, and when a read gives it a tenth of its weight or more.
Which entry goes depends on what was read, and so on all tokens before: time runs as a loop (the
memories of Santoro et al., 2016, and Rae et al., 2016). Compare `eviction` of the package's own
association heads, which depends on what was written alone, and runs in chunks.

Axes: B batch, T time, D width, H heads, S slots, P width of values and keys.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

import mocanet_jax as moca
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.convolution import causal_convolution
from mocanet_jax.nn.heads import Association
from mocanet_jax.nn.heads.association import WINDOW

USE = 0.1
"""Least weight of a read that counts as use."""


class Slots(NamedTuple):
    """keys, values: float [B, H, S, P]. strengths: float [B, H, S]. used: int32 [B, H, S], the
    token of the last use, from 1 on. token: int32 [B], tokens so far."""

    keys: jax.Array
    values: jax.Array
    strengths: jax.Array
    used: jax.Array
    token: jax.Array


class LeastRecentlyUsed(Association):
    """As Association, with another choice of slots."""

    def initial_state(self, batch: int, num_slots: int):
        shape = (batch, self.count, num_slots)
        rows = lambda: jnp.zeros((*shape, self.sizes.value_width))
        used = jnp.zeros(shape, jnp.int32)
        recent = jnp.zeros((batch, WINDOW - 1, self.sizes.width))
        return recent, Slots(
            rows(), rows(), jnp.zeros(shape), used, jnp.zeros(batch, jnp.int32)
        )

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> moca.HeadOutput:
        views = {"key": self.key_taps, "query": self.query_taps}
        seen, recent = causal_convolution(z.astype(jnp.float32), mask, state[0], views)
        strength = jax.nn.sigmoid(projected["strength"]) * write_gate.open
        query = self._unit(seen["query"]) * self.sharpness[None, None, :, None]
        value = self._by_head(projected["value"])
        tokens = (query, self._unit(seen["key"]), value, strength, mask)
        by_time = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tokens)
        slots, outputs = jax.lax.scan(self._turn, state[1], by_time)
        read, write_slot, read_slot, share = jax.tree.map(
            lambda x: jnp.moveaxis(x, 0, 1), outputs
        )
        written = Address(write_slot[..., None], jnp.ones_like(share)[..., None])
        trace = moca.Trace(written, Address(read_slot[..., None], share[..., None]), strength)
        return moca.HeadOutput(read, (recent, slots), trace)

    def _turn(self, slots, token):
        """One token: query, key, value [B, H, P]; strength [B, H]; mask [B]."""
        query, key, value, strength, mask = token
        now = slots.token + mask
        slot = jnp.argmin(slots.used, axis=-1)
        put = jax.nn.one_hot(slot, slots.used.shape[-1], dtype=bool) & (strength > 0)[..., None]
        keys = jnp.where(put[..., None], key[:, :, None], slots.keys)
        values = jnp.where(put[..., None], value[:, :, None], slots.values)
        strengths = jnp.where(put, strength[..., None], slots.strengths)
        scores = jnp.einsum("bhp,bhsp->bhs", query, keys)
        highest = jnp.maximum(jnp.max(scores, axis=-1), self.sink[None])[..., None]
        weights = strengths * jnp.exp(scores - highest)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        shares = weights / (total + jnp.exp(self.sink[None, :, None] - highest))
        read = jnp.einsum("bhs,bhsp->bhp", shares, values)
        in_use = (put | (shares >= USE)) & mask[:, None, None]
        used = jnp.where(in_use, now[:, None, None], slots.used)
        outputs = (read, slot, jnp.argmax(shares, axis=-1), jnp.max(shares, axis=-1))
        return Slots(keys, values, strengths, used, now), outputs
