"""A set of small networks, of which each token uses a few.

Axes: B batch, T time, D width, E experts, K active experts, F expert hidden width,
C capacity.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import dispatch, gating, hierarchy
from mocanet_jax.core.budget import Routing
from mocanet_jax.core.hierarchy import GroupedLogits
from mocanet_jax.nn import partition
from mocanet_jax.nn.parameters import declared

GATHER_BELOW = 1
"""Choices of a batch, times this, up to which fetching the parameters of each beats computing
all E experts (benchmarks/dispatch.py)."""

FEW = 8
"""In evaluation choices that fit into this part of the room are computed in it."""

MANY = 32
"""From so many experts on evaluation, where not all choices find room at once, goes round by
round; fewer all compute all tokens."""

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class MlpExpert(nn.Module):
    """contract · relu(expand · x + bias). hidden_dim: F."""

    hidden_dim: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., D]. Returns [..., D]."""
        hidden = nn.relu(nn.Dense(self.hidden_dim, kernel_init=HE, name="expand")(x))
        return nn.Dense(x.shape[-1], use_bias=False, kernel_init=HE, name="contract")(hidden)


class GatedExpert(nn.Module):
    """contract · (silu(gate · x) ⊙ (expand · x)), as SwiGLU (Shazeer, 2020). hidden_dim: F."""

    hidden_dim: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., D]. Returns [..., D]."""
        dense = partial(nn.Dense, use_bias=False)
        hidden = nn.silu(dense(self.hidden_dim, name="gate")(x))
        hidden *= dense(self.hidden_dim, name="expand")(x)
        return dense(x.shape[-1], name="contract")(hidden)


KINDS = {"mlp": MlpExpert, "gated": GatedExpert}
"""By their names in config.model.experts.kind."""


@lru_cache
def expert_flops(expert: nn.Module, width: int) -> float:
    """Forward FLOPs of one token through one expert: a multiply-add for every number of its
    matrices (parameters with two or more axes), unless the module has a method
    `flops(width)`."""
    if hasattr(expert, "flops"):
        return float(expert.flops(width))
    init = lambda key: expert.init(key, jnp.zeros((1, width)))
    leaves = jax.tree.leaves(jax.eval_shape(init, jax.random.key(0)))
    return 2.0 * sum(leaf.size for leaf in leaves if leaf.ndim >= 2)


class ExpertsAux(NamedTuple):
    """indices: int32 [B, T, K]. computed: bool [B, T, K], the choices that did compute. wanted:
    bool [B, T, K], those that compute in evaluation: before any was dropped for want of room,
    and without what was tried though its gate is closed.
    balance_loss, z_loss: float []. dropped: int32 [], choices that found no room.
    """

    indices: jax.Array
    computed: jax.Array
    wanted: jax.Array
    balance_loss: jax.Array
    z_loss: jax.Array
    dropped: jax.Array


Logits = jax.Array | GroupedLogits


class Experts(nn.Module):
    """A mixture of experts of which only chosen ones compute: at most K a token.

    expert: any module that maps [..., D] to [..., D], each token by itself, with parameters
        alone (no state, no random numbers).
    count: E. top_k: K.
    routing: "dynamic", logits are margins above the experts' threshold (core/gating.py), and
        only experts above it compute; "topk", every token uses its K best; "random", every
        token uses each expert with probability mean_k / E, at most K, whatever the logits:
        another draw at each step of training, one for ever in evaluation.
    mean_k: experts that a token uses on average, which sizes the room for tokens.
    capacity_factor: room per expert, as a multiple of the even share. In training what finds
        none is dropped. In evaluation nothing is: where a choice finds no room, all experts
        compute all tokens, or, if they are many, it finds room in the next round, of which
        there is no gradient; and where few choose any, the room of few experts is an eighth.
    exploration: share of tokens that in training try their best expert though its gate is
        closed, so that it learns what it would contribute.
    pool: sequences that share the room of an expert in training; of a batch that it does not
        divide, their greatest common divisor.

    Training needs the "router" rng where experts are tried or drawn.
    """

    expert: nn.Module
    count: int
    top_k: int
    routing: Routing
    mean_k: float
    capacity_factor: float
    exploration: float
    pool: int = 1

    @nn.compact
    def __call__(self, z: jax.Array, logits: Logits, mask: jax.Array, train: bool):
        """z: [B, T, D]; logits: [B, T, E], or of both levels; mask: bool [B, T].

        Returns [B, T, D], zero for tokens whose every choice was dropped, and ExpertsAux.
        """
        expert = self.expert.clone(parent=None)
        parameters = declared(self, "each", self._init(expert), z.shape[-1], axis="experts")
        # Operands of products have the type of z (core/precision.py).
        parameters = jax.tree.map(lambda leaf: leaf.astype(z.dtype), parameters)
        apply = lambda p, x: expert.apply({"params": p}, x)
        gates, wanted, live = self._choose(logits, mask, train)
        gates = gates._replace(weights=gates.weights.astype(z.dtype))
        choices = gates.indices.size  # no number where a program for any B is exported
        few = isinstance(choices, int) and GATHER_BELOW * choices <= self.count
        mix = dispatch.gathered_mixture if few else dispatch.dense_mixture
        everywhere = lambda: mix(apply, parameters, z, gates, live)
        length, computed, dropped = z.shape[1], live, 0
        bounded = isinstance(length, int) and not few
        capacity = dispatch.expert_capacity(
            length, self.count, self.mean_k, self.capacity_factor if bounded else None
        )
        scores = hierarchy if isinstance(logits, GroupedLogits) else dispatch
        if capacity == length:
            output = everywhere()
        elif train and (pool := math.gcd(self.pool, len(z))) > 1:
            shared = partial(jax.tree.map, partial(_pooled, pool=pool))
            room = dispatch.expert_capacity(
                length * pool, self.count, self.mean_k, self.capacity_factor
            )
            tokens, choices, taking = shared((z, gates, live))
            plan = dispatch.plan_dispatch(choices.indices, taking, self.count, room)
            output = _apart(_dispatched(apply, parameters, tokens, choices, plan), pool)
            computed, dropped = _apart(plan.kept, pool), plan.dropped
        elif not train and self.count >= MANY:
            output = _in_rounds(apply, parameters, z, gates, live, capacity)
        else:
            plan_for = partial(dispatch.plan_dispatch, gates.indices, live, self.count)
            within = partial(_dispatched, apply, parameters, z, gates)
            if train:
                plan = plan_for(capacity)
                output, computed, dropped = within(plan), plan.kept, plan.dropped
            else:
                output = everywhere
                for room in (capacity, max(1, capacity // FEW)):
                    output = _where_it_fits(partial(within, plan_for(room)), output)
                output = output()
        return output, ExpertsAux(
            gates.indices,
            computed,
            wanted,
            scores.load_balance_loss(logits, gates.indices, live, mask),
            scores.router_z_loss(logits, mask) if self.routing == "topk" else jnp.zeros(()),
            jnp.int32(dropped),
        )

    def _init(self, expert) -> Callable:
        """(key, D) → parameters of E experts, arrays [E, …]."""

        def init(key, width):
            one = lambda key: expert.init(key, jnp.zeros((1, width)))["params"]
            return jax.vmap(one)(jax.random.split(key, self.count))

        return init

    def _choose(self, logits, mask, train):
        """Gates, which of their choices compute in evaluation, and which take a place now:
        bool [B, T, K]."""
        grouped = isinstance(logits, GroupedLogits)
        if self.routing == "random":
            key = self.make_rng("router") if train else jax.random.key(0)
            chance = jax.random.uniform(key, logits.shape)
            lowest, indices = jax.lax.top_k(-chance, self.top_k)
            drawn = -lowest < self.mean_k / self.count
            live = drawn & mask[..., None]
            return dispatch.Gates(indices, jnp.ones_like(lowest)), live, live
        if self.routing == "topk":
            scores = hierarchy if grouped else dispatch
            best = partial(scores.top_k_gates, k=self.top_k)
            gates = partition.by_sequence(best, logits)
            live = jnp.broadcast_to(mask[..., None], gates.indices.shape)
            return gates, live, live
        best = partial(hierarchy.top_k if grouped else jax.lax.top_k, k=self.top_k)
        margins, indices = partition.by_sequence(best, logits)
        live = wanted = (margins > 0) & mask[..., None]
        if train and self.exploration:
            key = self.make_rng("router")
            tried = mask & jax.random.bernoulli(key, self.exploration, mask.shape)
            live = live.at[..., 0].set(live[..., 0] | tried)
        gates = dispatch.Gates(indices, gating.expert_weight(margins))
        return gates, wanted, live


def _where_it_fits(in_room, otherwise):
    """The computation in a room if no choice was dropped, else the other one; both give
    [B, T, D]. in_room: a partial function whose last argument is its Dispatch."""
    fits = dispatch.has_room(in_room.args[-1].dropped)
    return lambda: jax.lax.cond(fits, in_room, otherwise)


def _dispatched(apply, parameters, z, gates, plan):
    """[B, T, D], with tokens moved to the buffers of their experts and back."""
    tokens = partition.to_experts(dispatch.gather_tokens(z, plan))
    shape = tokens.shape  # [E, B, C, D]
    results = jax.vmap(apply)(parameters, tokens.reshape(shape[0], -1, shape[-1]))
    results = partition.from_experts(results.reshape(shape))
    results = dispatch.gather_results(results, plan)
    return jnp.einsum("btkd,btk->btd", results, gates.weights)


def _in_rounds(apply, parameters, z, gates, live, capacity):
    """[B, T, D]: whatever finds no room in a round has its turn in the next, until all are
    done. Has no gradient."""
    num_experts = len(jax.tree.leaves(parameters)[0])

    def turn(carry):
        output, waiting = carry
        plan = dispatch.plan_dispatch(gates.indices, waiting, num_experts, capacity)
        output += _dispatched(apply, parameters, z, gates, plan)
        return output, waiting & ~plan.kept

    start = (jnp.zeros_like(z), live)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), turn, start)[0]


def _pooled(x, pool):
    """Arrays [B, T, …] of `pool` sequences as one, [B / pool, T · pool, …], in time order."""
    x = x.reshape(-1, pool, *x.shape[1:])
    return jnp.swapaxes(x, 1, 2).reshape(x.shape[0], -1, *x.shape[3:])


def _apart(x, pool):
    """The way back of `_pooled`."""
    x = jnp.swapaxes(x.reshape(x.shape[0], -1, pool, *x.shape[2:]), 1, 2)
    return x.reshape(-1, *x.shape[2:])
