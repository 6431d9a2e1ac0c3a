"""The cache of a model: what it has read lately, offered again beside its own prediction.

A token x_{t+1} is kept under a key of the features f_t that predicted it, and found by the
features of later tokens (core/cache.py). Keys and queries are one map, so that what stands in
the same place is found from the start.

    k_t = W f_t / |W f_t|,    q_t = sharpness · k_t,    b_t = b · f_t + b_0

Axes: B batch, T time, D width, S slots, K width of keys, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.cache import CacheState, Entries, empty_cache, with_copies
from mocanet_jax.core.narrow import check_bits
from mocanet_jax.core.precision import full, product
from mocanet_jax.core.rows import last_unmasked, previous, taken
from mocanet_jax.nn.parameters import declared

SHARPNESS_START = 8.0
"""Of scores before training: a key that answers fully is e⁸ times one at a right angle."""

BIAS_START = -4.0
"""Of scores before training, so that copies begin as a small share."""


@dataclass(frozen=True)
class CacheConfig:
    """num_slots: S, entries that are found in training; initial_state may enlarge it. width: K.
    slot_bits: of each number of a key that is kept, of core/narrow.py:BITS.
    Raises ValueError for other bits, and for sizes below 1."""

    num_slots: int = 64
    width: int = 64
    slot_bits: int = 32

    def __post_init__(self):
        check_bits(self.slot_bits)
        for name in ("num_slots", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"cache.{name} must be at least 1, not {getattr(self, name)}")

    def flops(self, width: int) -> float:
        """Forward FLOPs per token of a model of D = width: keys, bias and scores."""
        return 2.0 * width * (self.width + 1) + 2.0 * self.width * self.num_slots


class RecentState(NamedTuple):
    """key: float [B, 1, K], of the token before. began: bool [B, 1], whether there was one.
    entries: what was kept."""

    key: jax.Array
    began: jax.Array
    entries: CacheState


class Cache(nn.Module):
    config: CacheConfig

    @nn.nowrap
    def initial_state(self, batch: int, num_slots: int | None = None) -> RecentState:
        """num_slots: S, at least the trained number; None for the trained number."""
        slots, width = self.config.num_slots, self.config.width
        if num_slots is not None:
            if num_slots < slots:
                raise ValueError(
                    f"a cache can be enlarged beyond {slots} slots, not reduced to {num_slots}"
                )
            slots = num_slots
        return RecentState(
            jnp.zeros((batch, 1, width)),
            jnp.zeros((batch, 1), bool),
            empty_cache(batch, slots, width, self.config.slot_bits),
        )

    @nn.compact
    def __call__(self, logits, features, tokens, mask, state: RecentState):
        """logits: float [B, T, V]; features: [B, T, D]; tokens: int [B, T]; mask: bool [B, T].
        Returns logits' [B, T, V], the next state, and the share of copies [B, T] in [0, 1].
        """
        init = nn.initializers.lecun_normal()
        kernel = self.param("key", init, (features.shape[-1], self.config.width))
        constant = nn.initializers.constant
        sharpness = declared(self, "sharpness", constant(SHARPNESS_START), (), decay=False)
        forgetting = declared(self, "forgetting", constant(0.0), (), decay=False)
        bias = nn.Dense(
            1,
            kernel_init=nn.initializers.zeros,
            bias_init=constant(BIAS_START),
            name="bias",
        )
        key = product(features, kernel)
        key = key * jax.lax.rsqrt(jnp.sum(key**2, axis=-1, keepdims=True) + 1e-6)
        before = previous(jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True))[:, 1:]
        keys = jnp.concatenate([state.key, key], axis=1)
        began = jnp.concatenate([state.began, jnp.ones_like(mask)], axis=1)
        entries = Entries(
            query=key * sharpness,
            key=taken(keys, before),
            bias=full(bias(features))[..., 0],
            token=tokens.astype(jnp.int32),
            live=mask & taken(began, before),
        )
        logits, kept, share = with_copies(
            logits, state.entries, entries, forgetting, self.config.num_slots
        )
        last_key = last_unmasked(state.key, key, mask)
        began = state.began | jnp.any(mask, axis=1, keepdims=True)
        return logits, RecentState(last_key, began, kept), share
