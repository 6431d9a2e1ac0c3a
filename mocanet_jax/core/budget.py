"""The compute budget: what a forward pass costs, what share of it was spent, and the multiplier
that holds it under a target.

Three units, three names: *FLOPs* per token, from an analytic model that counts matrix products
and the memory's own arithmetic (one multiply-add is 2 FLOPs) and leaves out norms and
activations; *shares*, FLOPs over those of everything that can be gated: all E experts, all
writes and reads; and *logits*, in which gates compare (gating.py). *Usage* is the realised
share. The controller, the router and the head are always on and have no part in it.

The budget keeps usage under a target share τ by one number, the multiplier λ ≥ 0, the dual
variable of the constraint. It acts twice: as λ · share, the threshold in logits that a gate
must pass, and in the loss:

    loss = task loss + penalty(aux, λ, config);    λ ← update(λ, usage, config)

Axes: B batch, T time, E experts, K active experts.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp

PRESSURE = 0.05
"""Nats for the full compute, per squared logit of λ, above the target."""

PRESSURE_BAND = 0.1
"""Width of usage around the target, as a share of it, over which the pressure sets in."""


Routing = Literal["dynamic", "topk", "random"]


@dataclass(frozen=True)
class BudgetConfig:
    """routing: "dynamic" engages a part only where its gate is open, with K and A as ceilings;
        "topk" engages K experts, a write and a read at every token; "random", a control, as
        "topk", with each expert drawn at each token by chance, with probability τ.
    target: τ in [0, 1], share of the FLOPs of everything on. It sizes the experts' room in
        training, too.
    base_cost: nats for the full compute, whatever the target; ≥ 0.
    multiplier_rate: step size of λ, in logits; ≥ 0.
    """

    routing: Routing = "dynamic"
    target: float = 1.0
    base_cost: float = 0.05
    multiplier_rate: float = 0.3

    def __post_init__(self):
        if self.routing not in (kinds := get_args(Routing)):
            known = ", ".join(kinds)
            raise ValueError(f"budget.routing must be one of {known}, not {self.routing!r}")
        if not 0 <= self.target <= 1:
            raise ValueError(f"budget.target must be in [0, 1], not {self.target}")
        for name in ("base_cost", "multiplier_rate"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"budget.{name} must be at least 0, not {getattr(self, name)}")


class Flops(NamedTuple):
    """FLOPs per token of the parts of one layer that can be gated, everything on."""

    experts: float
    writes: float
    reads: float


class Shares(NamedTuple):
    """Shares in [0, 1] of the sum of a layer's Flops: of one expert, of one head's write and of
    one head's read."""

    expert: float
    write: float
    read: float


class Thresholds(NamedTuple):
    """What the logit of a gate must pass, float [] ≥ 0, in logits: of an expert, a write and a
    read."""

    expert: jax.Array | float
    write: jax.Array | float
    read: jax.Array | float


def thresholds(multiplier: jax.Array | float, shares: Shares) -> Thresholds:
    """λ · share of each part. multiplier: λ ≥ 0, in logits for the full compute of a layer."""
    return Thresholds(*(multiplier * share for share in shares))


class Usage(NamedTuple):
    """Sums over unmasked tokens, to be added over layers and batches, then divided once.

    experts, writes, reads: float [], FLOPs spent on each part.
    possible: Flops of float [], the FLOPs of everything on.
    load: float [E], tokens that each expert computed.
    counts: float [K + 1], tokens that 0, 1, …, K experts computed.
    """

    experts: jax.Array
    writes: jax.Array
    reads: jax.Array
    possible: Flops
    load: jax.Array
    counts: jax.Array

    def shares(self) -> dict[str, jax.Array]:
        """Realised shares in [0, 1] of each part and of the total; a part of 0 FLOPs is 0."""
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


def memory_flops(width: int, values: int, num_active: int, accesses: int) -> float:
    """One token's access of all heads: a projection between D = `width` and `values` = H·P, and
    `accesses` passes over A rows of each head.

    A write passes twice (recall the old value, add the new one). A read has passed once before
    its gate is decided, so that what is left to save is the projection.
    """
    return 2.0 * width * values + 2.0 * accesses * num_active * values


def usage(
    computed: jax.Array,
    writes: jax.Array,
    reads: jax.Array,
    mask: jax.Array,
    flops: Flops,
    k: int,
) -> Usage:
    """Usage of one layer on one batch.

    computed: bool [B, T, E], experts that compute a token in evaluation. writes, reads: the
        engaged share in [0, 1] of every token, float [B, T]. mask: bool [B, T]; masked tokens
        neither spend nor count. k: K, the most experts a token can use.
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
        flops.experts * jnp.sum(load) / max(len(load), 1),
        flops.writes * jnp.sum(writes * mask),
        flops.reads * jnp.sum(reads * mask),
        Flops(*(f * tokens for f in flops)),
        load,
        counts,
    )


def penalty(
    aux: Any, multiplier: jax.Array, config: BudgetConfig, base_cost: jax.Array | None = None
) -> jax.Array:
    """The budget's term of the loss, in nats: what gates learn to avoid spending.

        (base_cost + 0.05 h λ²) · expected share,    h = clip(1/2 + (usage − τ) / (0.1 τ), 0, 1)

    aux: what a layer or a model returned for a batch, with expected_share (differentiable) and
    usage. multiplier: λ, float []. base_cost: in place of the config's.

    Well within the target only the base cost is left, which closes gates of no use. Around it,
    h lets the pressure fade in and out with the excess of this very batch, so that a task that
    needs more than τ settles at τ, where half the pressure of some λ balances the contribution
    of the next part, instead of swinging between everything and nothing, as any constant
    coefficient would have it: of parts of equal contribution all would stay on or none.
    """
    usage, target = aux.usage.shares()["total"], config.target
    excess = jax.lax.stop_gradient((usage - target) / max(PRESSURE_BAND * target, 1e-6))
    pressure = PRESSURE * jnp.clip(0.5 + excess, 0.0, 1.0) * multiplier**2
    base = config.base_cost if base_cost is None else base_cost
    return (base + pressure) * aux.expected_share


def update(
    multiplier: jax.Array,
    usage: Usage | jax.Array,
    config: BudgetConfig,
    highest: float = math.inf,
    rate: jax.Array | None = None,
) -> jax.Array:
    """λ after a step (dual ascent): λ + rate · clip(usage/τ − 1, ±1), kept in [0, highest].

    usage: realised, as Usage or as a share in [0, 1]. highest: λ at which every gate is closed,
    LayerConfig.max_multiplier. rate: in place of the config's multiplier_rate.

    Integral control: λ rises while usage is above the target and falls to 0 below it. What it
    moves, a threshold on bounded logits, acts at once and does not pass through the optimizer,
    so that nothing winds up (a coefficient of a loss has neither property).
    """
    share = usage.shares()["total"] if isinstance(usage, Usage | AlwaysOn) else usage
    excess = jnp.clip(share / max(config.target, 1e-6) - 1.0, -1.0, 1.0)
    rate = config.multiplier_rate if rate is None else rate
    return jnp.clip(multiplier + rate * excess, 0.0, highest)


def _ratio(part, whole):
    """part / whole, at most 1 in spite of rounding errors; 0 of nothing."""
    return jnp.minimum(jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0), 1.0)
