"""The mixture of experts where every choice has room: no token is moved and none dropped.

    y = Σ_k weight_k · expert_{e_k}(x),    e_k = index_k

Two forms that give the same: `dense` computes all E experts for every token and gives what was
not chosen weight 0; `gathered` fetches the parameters of the chosen ones for every token. Where
room is bounded, tokens are moved instead (dispatch.py).

Axes: B batch, T time, D width, E experts, K active experts.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.dispatch import Gates

Apply = Callable[[Any, jax.Array], jax.Array]
"""One expert: (parameters, x [..., D]) → [..., D], each token by itself."""


def dense(
    apply: Apply, parameters: Any, x: jax.Array, gates: Gates, live: jax.Array
) -> jax.Array:
    """parameters: a pytree of arrays [E, …]. x: [B, T, D]. live: bool [B, T, K], choices that
    count. Returns [B, T, D]."""
    _check(x, gates, live)
    num_experts = len(jax.tree.leaves(parameters)[0])
    chosen = jax.nn.one_hot(gates.indices, num_experts, dtype=x.dtype)
    share = jnp.einsum("btke,btk->bte", chosen, gates.weights * live)
    results = jax.vmap(apply, (0, None), 2)(parameters, x)
    return jnp.einsum("bted,bte->btd", results, share)


def gathered(
    apply: Apply, parameters: Any, x: jax.Array, gates: Gates, live: jax.Array
) -> jax.Array:
    """As `dense`. Reads the parameters of K experts a token instead of those of E a batch."""
    _check(x, gates, live)
    chosen = jax.tree.map(lambda leaf: leaf[gates.indices], parameters)
    of_token = jax.vmap(apply, (0, None))  # over K
    results = jax.vmap(jax.vmap(of_token))(chosen, x)
    return jnp.einsum("btkd,btk->btd", results, gates.weights * live)


def _check(x, gates, live):
    chex.assert_rank(x, 3)
    chex.assert_equal_shape([*gates, live])
    chex.assert_equal_shape_prefix([x, live], 2)
    chex.assert_type([*gates, live], [jnp.int32, float, bool])
