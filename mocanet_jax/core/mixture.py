"""The mixture of experts where every choice has room: nothing is moved and nothing dropped.

    y = Σ_k weight_k · contract_e relu(x · expand_e + bias_e),    e = index_k

Two forms that give the same: `dense` computes all E experts for every token and weighs what
was not chosen by 0; `gathered` fetches the weights of the chosen ones for every token. Where
room is bounded, tokens are moved instead (dispatch.py).

Axes: B batch, T time, D width, E experts, K active experts, F expert hidden width.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.dispatch import Gates


class ExpertWeights(NamedTuple):
    """expand: float [E, D, F]. bias: float [E, F]. contract: float [E, F, D]."""

    expand: jax.Array
    bias: jax.Array
    contract: jax.Array


def dense(x: jax.Array, gates: Gates, live: jax.Array, weights: ExpertWeights) -> jax.Array:
    """x: [B, T, D]. live: bool [B, T, K], choices that count. Returns [B, T, D].

    All experts are two matrix products, with E·F hidden numbers a token.
    """
    _check(x, gates, live, weights)
    chosen = jax.nn.one_hot(gates.indices, len(weights.expand), dtype=x.dtype)
    share = jnp.einsum("btke,btk->bte", chosen, gates.weights * live)
    hidden = jnp.einsum("btd,edf->btef", x, weights.expand) + weights.bias[None, None]
    hidden = jax.nn.relu(hidden) * share[..., None]
    return jnp.einsum("btef,efd->btd", hidden, weights.contract)


def gathered(x: jax.Array, gates: Gates, live: jax.Array, weights: ExpertWeights) -> jax.Array:
    """As `dense`. Reads the weights of K experts a token instead of those of E a batch."""
    _check(x, gates, live, weights)
    expand, bias, contract = (part[gates.indices] for part in weights)
    hidden = jax.nn.relu(jnp.einsum("btd,btkdf->btkf", x, expand) + bias)
    hidden = hidden * (gates.weights * live)[..., None]
    return jnp.einsum("btkf,btkfd->btd", hidden, contract)


def _check(x, gates, live, weights):
    chex.assert_rank(x, 3)
    chex.assert_equal_shape([*gates, live])
    chex.assert_equal_shape_prefix([x, live], 2)
    chex.assert_type([*gates, live, *weights], [jnp.int32, float, bool, float, float, float])
    num_experts, width, hidden = weights.expand.shape
    chex.assert_shape(weights.bias, (num_experts, hidden))
    chex.assert_shape(weights.contract, (num_experts, hidden, width))
