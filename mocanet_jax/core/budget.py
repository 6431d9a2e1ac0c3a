"""What a forward pass costs, and what share of it was spent.

Prices are FLOPs per token from an analytic model that counts matrix products and
the memory's own arithmetic (one multiply-add is 2 FLOPs) and leaves out norms and
activations. *Usage* is the price of the parts that tokens engaged over the price
of everything that could have been engaged: all E experts, the write and the read.
The controller, the router and the head are always on and have no part in it.

Axes: B batch, T time.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Prices(NamedTuple):
    """FLOPs per token of the parts of one layer that can be switched off."""

    experts: float
    writes: float
    reads: float


class Usage(NamedTuple):
    """Sums over unmasked tokens, to be added over layers and batches, then divided once.

    experts, writes, reads: float [], FLOPs spent on each part.
    possible: Prices of float [], the FLOPs of everything on.
    """

    experts: jax.Array
    writes: jax.Array
    reads: jax.Array
    possible: Prices

    def shares(self) -> dict[str, jax.Array]:
        """Realised shares in [0, 1] of each part and of the total; a part of price 0 is 0."""
        spent = {"experts": self.experts, "writes": self.writes, "reads": self.reads}
        shares = {name: _ratio(x, getattr(self.possible, name)) for name, x in spent.items()}
        shares["total"] = _ratio(sum(spent.values()), sum(self.possible))
        return shares

    def metrics(self) -> dict[str, jax.Array]:
        """The shares by the names they are logged under: usage, and usage_PART of each."""
        shares = self.shares()
        total = shares.pop("total")
        return {"usage": total} | {f"usage_{part}": x for part, x in shares.items()}


def expert_price(embedding_dim: int, hidden_dim: int) -> float:
    """One token through one two-layer expert."""
    return 4.0 * embedding_dim * hidden_dim


def memory_price(embedding_dim: int, num_active: int, accesses: int) -> float:
    """One token's access: a D×D projection and `accesses` passes over A rows of each head.

    A write passes twice (recall the old value, add the new one), a read once.
    """
    return 2.0 * embedding_dim**2 + 2.0 * accesses * num_active * embedding_dim


def usage(engaged: dict[str, jax.Array], mask: jax.Array, prices: Prices) -> Usage:
    """Usage of one layer on one batch.

    engaged: for each part of Prices, the engaged share in [0, 1] of every token,
        float [B, T]. mask: bool [B, T]; masked tokens neither spend nor count.
    """
    chex.assert_equal_shape([mask, *engaged.values()])
    chex.assert_type(mask, bool)
    tokens = jnp.sum(mask)
    spent = {
        name: price * jnp.sum(engaged[name] * mask) for name, price in prices._asdict().items()
    }
    return Usage(**spent, possible=Prices(*(price * tokens for price in prices)))


def penalty(share: jax.Array, target: float) -> jax.Array:
    """How far the used share exceeds the target; the target is a ceiling, not a quota."""
    return jnp.maximum(share - target, 0.0)


def _ratio(part, whole):
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0)
