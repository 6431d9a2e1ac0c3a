"""What a forward pass costs, and what share of it was spent.

Prices are FLOPs per token from an analytic model that counts matrix products and
the memory's own arithmetic (one multiply-add is 2 FLOPs) and leaves out norms and
activations. *Usage* is the price of the parts that tokens engaged over the price
of everything that could have been engaged: all E experts, the write and the read.
The controller, the router and the head are always on and have no part in it.

The budget keeps usage under a target share τ by one number, the price of compute λ. It acts
twice: as the threshold that gates must pass (gating.py), and in the loss.

Axes: B batch, T time, E experts, K active experts.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

PRESSURE = 0.05
"""Nats of the loss for the full compute, per squared logit of λ, above the target."""

PRESSURE_BAND = 0.1
"""Width of usage around the target, as a share of it, over which the pressure sets in."""


class Prices(NamedTuple):
    """FLOPs per token of the parts of one layer that can be switched off."""

    experts: float
    writes: float
    reads: float


class Usage(NamedTuple):
    """Sums over unmasked tokens, to be added over layers and batches, then divided once.

    experts, writes, reads: float [], FLOPs spent on each part.
    possible: Prices of float [], the FLOPs of everything on.
    load: float [E], tokens that each expert computed.
    counts: float [K + 1], tokens that 0, 1, …, K experts computed.
    """

    experts: jax.Array
    writes: jax.Array
    reads: jax.Array
    possible: Prices
    load: jax.Array
    counts: jax.Array

    def shares(self) -> dict[str, jax.Array]:
        """Realised shares in [0, 1] of each part and of the total; a part of price 0 is 0."""
        spent = {"experts": self.experts, "writes": self.writes, "reads": self.reads}
        shares = {name: _ratio(x, getattr(self.possible, name)) for name, x in spent.items()}
        shares["total"] = _ratio(sum(spent.values()), sum(self.possible))
        return shares

    def metrics(self) -> dict[str, jax.Array]:
        """The shares by the names they are logged under: usage, and usage_PART of each;
        tokens_with_N_experts, of tokens; load_of_expert_N, of all experts' load."""
        shares = self.shares()
        total = shares.pop("total")
        metrics = {"usage": total} | {f"usage_{part}": x for part, x in shares.items()}
        if len(self.load):
            counts = _ratio(self.counts, jnp.sum(self.counts))
            load = _ratio(self.load, jnp.sum(self.load))
            metrics |= {f"tokens_with_{n}_experts": x for n, x in enumerate(counts)}
            metrics |= {f"load_of_expert_{n}": x for n, x in enumerate(load)}
        return metrics


class AlwaysOn(NamedTuple):
    """The usage of a model that computes everything for every token; added as Usage is."""

    def shares(self) -> dict[str, jax.Array]:
        return {"total": jnp.ones(())}

    def metrics(self) -> dict[str, jax.Array]:
        return {"usage": jnp.ones(())}


def expert_price(embedding_dim: int, hidden_dim: int) -> float:
    """One token through one two-layer expert."""
    return 4.0 * embedding_dim * hidden_dim


def memory_price(embedding_dim: int, num_active: int, accesses: int) -> float:
    """One token's access: a D×D projection and `accesses` passes over A rows of each head.

    A write passes twice (recall the old value, add the new one). A read has passed once before
    its gate is decided, so that what is left to save is the projection.
    """
    return 2.0 * embedding_dim**2 + 2.0 * accesses * num_active * embedding_dim


def usage(
    computed: jax.Array,
    writes: jax.Array,
    reads: jax.Array,
    mask: jax.Array,
    prices: Prices,
    k: int,
) -> Usage:
    """Usage of one layer on one batch.

    computed: bool [B, T, E], experts that computed a token. writes, reads: the engaged share in
        [0, 1] of every token, float [B, T]. mask: bool [B, T]; masked tokens neither spend nor
        count. k: K, the most experts a token can use.
    """
    chex.assert_equal_shape([mask, writes, reads])
    chex.assert_equal_shape_prefix([mask, computed], 2)
    chex.assert_type([mask, computed], bool)
    tokens = jnp.sum(mask)
    computed = computed & mask[..., None]
    load = jnp.sum(computed, axis=(0, 1), dtype=jnp.float32)
    per_token = jnp.sum(computed, axis=-1)
    counts = jnp.sum(jax.nn.one_hot(per_token, k + 1) * mask[..., None], axis=(0, 1))
    return Usage(
        prices.experts * jnp.sum(load) / max(len(load), 1),
        prices.writes * jnp.sum(writes * mask),
        prices.reads * jnp.sum(reads * mask),
        Prices(*(price * tokens for price in prices)),
        load,
        counts,
    )


def charge(
    expected_share: jax.Array, share: jax.Array, target: float, price: jax.Array, thrift: float
) -> jax.Array:
    """The budget's term of the loss, in nats: what gates learn to avoid spending.

        (thrift + 0.05 h λ²) · expected share,    h = clip(1/2 + (share − τ) / (0.1 τ), 0, 1)

    expected_share: differentiable, in [0, 1]. share: realised in the same batch. target: τ.
    price: λ. thrift: nats for the full compute, whatever the target.

    Well within the target only thrift is left, which closes what is of no use. Around it, h
    lets the pressure fade in and out with the excess of this very batch, so that a task that
    needs more than τ settles at τ, where half the pressure of some λ balances what the next
    part is worth, instead of swinging between everything and nothing, as any constant price
    would have it: of parts of equal use all would be worth it or none.
    """
    excess = jax.lax.stop_gradient((share - target) / max(PRESSURE_BAND * target, 1e-6))
    pressure = PRESSURE * jnp.clip(0.5 + excess, 0.0, 1.0) * price**2
    return (thrift + pressure) * expected_share


def adapted_price(
    price: jax.Array, share: jax.Array, target: float, rate: jax.Array, highest: float
) -> jax.Array:
    """λ after a step that used `share` of everything: λ + rate · clip(share/τ − 1, ±1), kept in
    [0, highest].

    Integral control: λ rises while usage is above the target and falls to 0 below it. What it
    moves, a threshold on bounded logits, acts at once and does not pass through the optimizer,
    so that nothing winds up (a coefficient of a loss has neither property).
    """
    excess = jnp.clip(share / max(target, 1e-6) - 1.0, -1.0, 1.0)
    return jnp.clip(price + rate * excess, 0.0, highest)


def _ratio(part, whole):
    """part / whole, at most 1 in spite of rounding; 0 of nothing."""
    return jnp.minimum(jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0), 1.0)
