"""A set of small MLPs, of which each token uses a few.

Axes: B batch, T time, D width, E experts, K active experts, F expert hidden width,
C capacity.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import dispatch


class ExpertsAux(NamedTuple):
    """indices: int32 [B, T, K]. balance_loss, z_loss: float []. dropped: int32 []."""

    indices: jax.Array
    balance_loss: jax.Array
    z_loss: jax.Array
    dropped: jax.Array


class Experts(nn.Module):
    """Top-K mixture of experts; only chosen experts compute.

    capacity_factor: room per expert in training, as a multiple of the even share. In
    evaluation every expert has room for every token, so that nothing is dropped.
    """

    num_experts: int
    hidden_dim: int
    top_k: int
    capacity_factor: float

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

        gates = dispatch.top_k_gates(logits, self.top_k)
        capacity = dispatch.expert_capacity(
            z.shape[1], self.num_experts, self.top_k, self.capacity_factor if train else None
        )
        plan = dispatch.plan_dispatch(gates.indices, mask, self.num_experts, capacity)
        tokens = dispatch.gather_tokens(z, plan)
        shape = tokens.shape
        tokens = tokens.reshape(self.num_experts, -1, width)
        hidden = nn.relu(jnp.einsum("end,edf->enf", tokens, expand) + bias[:, None])
        results = jnp.einsum("enf,efd->end", hidden, contract).reshape(shape)
        results = dispatch.gather_results(results, plan)
        output = jnp.einsum("btkd,btk->btd", results, gates.weights)
        return output, ExpertsAux(
            gates.indices,
            dispatch.load_balance_loss(logits, gates.indices, mask),
            dispatch.router_z_loss(logits, mask),
            plan.dropped,
        )
