"""A memory of n-grams: slots that are found by the last tokens and learned in training.

    m_t = W [table_2[h(x_{t−1}, x_t)]; table_3[h(x_{t−2}, x_{t−1}, x_t)]; …]

Each token reads one slot of the table of every order n, so that a step costs the same for any
number of slots. Tables that are looked up by a hash of n-grams: Huang et al. (2025,
"Over-Tokenized Transformer") and Cheng et al. (2026, "Conditional Memory via Scalable Lookup",
Engram); a large learned memory of which few slots are read: Lample et al. (2019).

Axes: B batch, T time, D width, O orders, S slots, P width of a slot.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.ngrams import BEGINNING, ngram_addresses
from mocanet_jax.core.precision import product
from mocanet_jax.core.rows import take
from mocanet_jax.nn.parameters import declared

SLOT_START = 0.02
"""Standard deviation of slots before training."""


@dataclass(frozen=True)
class NgramConfig:
    """orders: n of each table, from 2 on. num_slots: S, of each. width: P. dropout: share in
    [0, 1) of slots that training reads as zeros, a whole slot at a time, so that shorter
    n-grams learn to do without the longer ones. Raises ValueError for others.
    """

    orders: tuple[int, ...] = (2, 3, 4, 5, 6)
    num_slots: int = 4096
    width: int = 64
    dropout: float = 0.0

    def __post_init__(self):
        ordered = tuple(sorted(set(self.orders))) == tuple(self.orders)
        if not (self.orders and ordered and self.orders[0] >= 2):
            raise ValueError(f"ngrams.orders must rise from at least 2, not {self.orders}")
        for name in ("num_slots", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"ngrams.{name} must be at least 1, not {getattr(self, name)}")

        if not 0 <= self.dropout < 1:
            raise ValueError(f"ngrams.dropout must be in [0, 1), not {self.dropout}")

    def flops(self, width: int) -> float:
        """Forward FLOPs per token of a layer of D = width: what projects the slots."""
        return 2.0 * len(self.orders) * self.width * width


class NgramMemory(nn.Module):
    """width: D. dtype: of its matrix product; None for that of the parameters."""

    config: NgramConfig
    width: int
    dtype: jnp.dtype | None = None

    def setup(self):
        config = self.config
        shape = (len(config.orders), config.num_slots, config.width)
        start = nn.initializers.normal(SLOT_START)
        self.table = declared(self, "table", start, shape, decay=False)
        shape = (len(config.orders) * config.width, self.width)
        self.drop = nn.Dropout(config.dropout, broadcast_dims=(-1,))
        self.output = self.param("output", nn.initializers.lecun_normal(), shape)

    def initial_state(self, batch: int) -> jax.Array:
        """int32 [B, max(orders) − 1], the last tokens."""
        return jnp.full((batch, self.config.orders[-1] - 1), BEGINNING, jnp.int32)

    def __call__(
        self, tokens: jax.Array, mask: jax.Array, recent: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """tokens: int [B, T]; mask: bool [B, T]; recent: the state. train: dropout,
        which needs the "dropout" rng. Returns what was read, [B, T, D], and the next state."""
        config = self.config
        addresses, recent = ngram_addresses(
            tokens.astype(jnp.int32), mask, recent, config.orders, config.num_slots
        )
        first = config.num_slots * jnp.arange(len(config.orders), dtype=jnp.int32)
        places = addresses + first[None, None]
        slots = jnp.reshape(self.table, (-1, config.width))
        read = jax.vmap(take, (None, 0))(slots, places)  # [B, T, O, P]
        read = self.drop(read, deterministic=not train)
        read = read.reshape(*tokens.shape, -1)
        return product(read.astype(self.dtype or read.dtype), self.output), recent
