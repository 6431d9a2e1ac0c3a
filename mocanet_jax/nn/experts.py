"""A set of small MLPs, of which each token uses a few.

Axes: B batch, T time, D width, E experts, K active experts, F expert hidden width,
C capacity.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import dispatch, gating, mixture
from mocanet_jax.core.mixture import ExpertWeights
from mocanet_jax.nn import partition

GATHER_BELOW = 1
"""Choices of a batch, times this, up to which fetching the weights of each beats computing all
E experts (benchmarks/dispatch.py)."""


class ExpertsAux(NamedTuple):
    """indices: int32 [B, T, K]. computed: bool [B, T, K], the choices that did compute.
    balance_loss, z_loss: float []. dropped: int32 [].
    """

    indices: jax.Array
    computed: jax.Array
    balance_loss: jax.Array
    z_loss: jax.Array
    dropped: jax.Array


class Experts(nn.Module):
    """A mixture of experts of which only chosen ones compute: at most K a token.

    dynamic: logits are margins above the experts' price (core/gating.py), and only experts
        above it compute; without, every token uses its K best.
    mean_k: experts that a token uses on average, which sizes the room for tokens.
    capacity_factor: room per expert in training, as a multiple of the even share. In
        evaluation every expert has room for every token, so that nothing is dropped.
    exploration: share of tokens that in training try their best expert though its gate is shut,
        to learn what it would be worth; needs the "router" rng.
    """

    num_experts: int
    hidden_dim: int
    top_k: int
    capacity_factor: float
    dynamic: bool
    mean_k: float
    exploration: float

    @nn.compact
    def __call__(self, z: jax.Array, logits: jax.Array, mask: jax.Array, train: bool):
        """z: [B, T, D]; logits: [B, T, E]; mask: bool [B, T].

        Returns [B, T, D], zero for tokens whose every choice was dropped, and ExpertsAux.
        """
        width = z.shape[-1]
        start = nn.initializers.variance_scaling(
            2.0, "fan_in", "truncated_normal", in_axis=-2, out_axis=-1, batch_axis=0
        )
        expand = self.param("expand", start, (self.num_experts, width, self.hidden_dim))
        bias = self.param("bias", nn.initializers.zeros, (self.num_experts, self.hidden_dim))
        contract = self.param("contract", start, (self.num_experts, self.hidden_dim, width))

        # Operands of products have the type of z (core/precision.py).
        weights = ExpertWeights(*(w.astype(z.dtype) for w in (expand, bias, contract)))
        gates, live = self._choose(logits, mask, train)
        gates = gates._replace(weights=gates.weights.astype(z.dtype))
        capacity = dispatch.expert_capacity(
            z.shape[1], self.num_experts, self.mean_k, self.capacity_factor if train else None
        )
        if capacity < z.shape[1]:
            output, computed, dropped = self._dispatched(z, gates, live, weights, capacity)
        else:
            choices = gates.indices.size  # no number where a program for any B is exported
            few = isinstance(choices, int) and GATHER_BELOW * choices <= self.num_experts
            mix = mixture.gathered if few else mixture.dense
            output, computed, dropped = mix(z, gates, live, weights), live, jnp.int32(0)
        return output, ExpertsAux(
            gates.indices,
            computed,
            dispatch.load_balance_loss(logits, gates.indices, live, mask),
            jnp.zeros(()) if self.dynamic else dispatch.router_z_loss(logits, mask),
            dropped,
        )

    def _dispatched(self, z, gates, live, weights, capacity):
        """Output, the choices that found room, and how many did not."""
        plan = dispatch.plan_dispatch(gates.indices, live, self.num_experts, capacity)
        tokens = partition.to_experts(dispatch.gather_tokens(z, plan))
        shape = tokens.shape
        tokens = tokens.reshape(self.num_experts, -1, z.shape[-1])
        hidden = jnp.einsum("end,edf->enf", tokens, weights.expand) + weights.bias[:, None]
        results = jnp.einsum("enf,efd->end", nn.relu(hidden), weights.contract)
        results = partition.from_experts(results.reshape(shape))
        results = dispatch.gather_results(results, plan)
        output = jnp.einsum("btkd,btk->btd", results, gates.weights)
        return output, plan.kept, plan.dropped

    def _choose(self, logits, mask, train):
        """Gates, and which of their choices take a place: bool [B, T, K]."""
        if not self.dynamic:
            gates = partition.by_sequence(partial(dispatch.top_k_gates, k=self.top_k), logits)
            return gates, jnp.broadcast_to(mask[..., None], gates.indices.shape)
        margins, indices = partition.by_sequence(partial(jax.lax.top_k, k=self.top_k), logits)
        live = margins > 0
        if train and self.exploration:
            key = self.make_rng("router")
            tried = jax.random.bernoulli(key, self.exploration, mask.shape)
            live = live.at[..., 0].set(live[..., 0] | tried)
        gates = dispatch.Gates(indices, gating.expert_weight(margins))
        return gates, live & mask[..., None]
