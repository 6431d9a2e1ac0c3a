"""Choosing experts, and computing only the chosen ones.

Axes: B batch, T time, D width, E experts, K active experts, C capacity.

    y = Σ_k weight_k · expert_{e_k}(x),    e_k = index_k

Each token picks K of E experts. Where every choice has room, no token is moved:
`dense_mixture` computes all E experts for every token and gives what was not chosen weight 0;
`gathered_mixture` fetches the parameters of the chosen ones for every token.

Where room is bounded, every expert has room for C tokens of each sequence; tokens are gathered
into [E, B, C, D], all experts run as one batched product, and the results return to their
tokens (Shazeer et al., 2017; GShard, Lepikhin et al., 2020). Room is counted per sequence and
filled in time order, so that a full expert can make neither another sequence nor an earlier
token change its output.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.rows import placed, take, taken


class Gates(NamedTuple):
    """Which experts a token uses, and how much of each.

    indices: int32 [B, T, K], distinct experts in [0, E).
    weights: float [B, T, K], non-negative, summing to at most 1 over K.
    """

    indices: jax.Array
    weights: jax.Array


class Dispatch(NamedTuple):
    """Where each token sits in the experts' buffers, and the reverse.

    token_of_slot: int32 [E, B, C], a time step in [0, T), or T for an empty slot.
    slot_of_choice: int32 [B, T, K], a place in the flat [E·C] buffer of the
        sequence, or E·C for a choice that was dropped or not live.
    kept: bool [B, T, K], choices that have a place.
    dropped: int32 [], live choices that found their expert full.
    """

    token_of_slot: jax.Array
    slot_of_choice: jax.Array
    kept: jax.Array
    dropped: jax.Array


def top_k_gates(logits: jax.Array, k: int) -> Gates:
    """The K most probable experts of router logits [B, T, E], weighted by their probability.

    Probabilities are of all E experts and are not rescaled to sum to 1 over K, so that the
    loss has a gradient for the router even for K = 1 (Fedus et al., 2021, section 2.1).
    """
    chex.assert_rank(logits, 3)
    chex.assert_type(logits, float)
    weights, indices = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), k)
    return Gates(indices, weights)


def expert_capacity(num_tokens: int, num_experts: int, k: float, factor: float | None) -> int:
    """Tokens of one sequence that an expert has room for.

    k: experts that a token uses on average. factor: room as a multiple of the even share
    k·T/E; None for room for every token, so that nothing can be dropped.
    """
    if factor is None:
        return num_tokens
    return max(1, min(num_tokens, math.ceil(factor * k * num_tokens / num_experts)))


def plan_dispatch(
    indices: jax.Array, live: jax.Array, num_experts: int, capacity: int
) -> Dispatch:
    """Gives every choice a place with its expert, first come first served in time.

    indices: int32 [B, T, K]. live: bool [B, T, K], False for choices that take no place: those
        of padding, and experts whose gate is closed.
    """
    chex.assert_rank(indices, 3)
    chex.assert_equal_shape([indices, live])
    chex.assert_type([indices, live], [jnp.int32, bool])
    batch, length, k = indices.shape
    choices = indices.reshape(batch, length * k)
    chosen = jax.nn.one_hot(choices, num_experts, dtype=jnp.int32)
    chosen = chosen * live.reshape(batch, length * k)[..., None]
    place = jnp.sum((jnp.cumsum(chosen, axis=1) - 1) * chosen, axis=-1)
    taking = jnp.any(chosen > 0, axis=-1)
    kept = taking & (place < capacity)
    nowhere = num_experts * capacity
    slot = jnp.where(kept, choices * capacity + place, nowhere)

    steps = jnp.arange(length * k, dtype=jnp.int32) // k
    steps = jnp.broadcast_to(steps, slot.shape)
    token_of_slot = placed(steps, slot, nowhere, length)
    token_of_slot = token_of_slot.reshape(batch, num_experts, capacity)
    return Dispatch(
        jnp.swapaxes(token_of_slot, 0, 1),
        slot.reshape(batch, length, k),
        kept.reshape(batch, length, k),
        jnp.sum(taking & ~kept),
    )


@jax.custom_batching.custom_vmap
def has_room(plan_dropped: jax.Array) -> jax.Array:
    """Whether no choice was dropped, bool []; under vmap, whether none was anywhere, so that a
    branch on it stays a branch and does not become a selection between both results."""
    return plan_dropped == 0


@has_room.def_vmap
def _has_room_anywhere(axis_size, in_batched, plan_dropped):
    return has_room(jnp.sum(plan_dropped) if in_batched[0] else plan_dropped), False


@jax.custom_vjp
def gather_tokens(x: jax.Array, dispatch: Dispatch) -> jax.Array:
    """Tokens [B, T, D] to expert buffers [E, B, C, D]; empty slots hold zeros."""
    chex.assert_shape(x, (*dispatch.slot_of_choice.shape[:2], None))
    padded = jnp.pad(x, ((0, 0), (0, 1), (0, 0)))
    return jax.vmap(take, (0, 1), 1)(padded, dispatch.token_of_slot)


@jax.custom_vjp
def gather_results(y: jax.Array, dispatch: Dispatch) -> jax.Array:
    """Expert buffers [E, B, C, D] to choices [B, T, K, D]; dropped choices are zero."""
    chex.assert_shape(y, (*dispatch.token_of_slot.shape, None))
    batch, width = y.shape[1], y.shape[-1]
    flat = jnp.swapaxes(y, 0, 1).reshape(batch, -1, width)
    padded = jnp.pad(flat, ((0, 0), (0, 1), (0, 0)))
    return taken(padded, dispatch.slot_of_choice)


# Each gather is the other's transpose, so neither gradient needs a scatter.
def _spread_choices(d_choices, dispatch):
    """Cotangents of choices [B, T, K, D] to buffers [E, B, C, D]."""
    experts, batch, capacity = dispatch.token_of_slot.shape
    length, k = d_choices.shape[1:3]
    flat = d_choices.reshape(batch, length * k, -1)
    choice = jnp.arange(length * k, dtype=jnp.int32)
    choice = jnp.broadcast_to(choice, (batch, length * k))
    at = dispatch.slot_of_choice.reshape(batch, -1)
    choice_of_slot = placed(choice, at, experts * capacity, length * k)
    padded = jnp.pad(flat, ((0, 0), (0, 1), (0, 0)))
    spread = taken(padded, choice_of_slot)
    return jnp.swapaxes(spread.reshape(batch, experts, capacity, -1), 0, 1)


gather_tokens.defvjp(
    lambda x, dispatch: (gather_tokens(x, dispatch), dispatch),
    lambda dispatch, g: (jnp.sum(gather_results(g, dispatch), axis=2), None),
)
gather_results.defvjp(
    lambda y, dispatch: (gather_results(y, dispatch), dispatch),
    lambda dispatch, g: (_spread_choices(g, dispatch), None),
)


Apply = Callable[[Any, jax.Array], jax.Array]
"""One expert: (parameters, x [..., D]) → [..., D], each token by itself."""


def dense_mixture(
    apply: Apply, parameters: Any, x: jax.Array, gates: Gates, live: jax.Array
) -> jax.Array:
    """parameters: a pytree of arrays [E, …]. x: [B, T, D]. live: bool [B, T, K], choices that
    count. Returns [B, T, D]."""
    _check_mixture(x, gates, live)
    num_experts = len(jax.tree.leaves(parameters)[0])
    chosen = jax.nn.one_hot(gates.indices, num_experts, dtype=x.dtype)
    share = jnp.einsum("btke,btk->bte", chosen, gates.weights * live)
    results = jax.vmap(apply, (0, None), 2)(parameters, x)
    return jnp.einsum("bted,bte->btd", results, share)


def gathered_mixture(
    apply: Apply, parameters: Any, x: jax.Array, gates: Gates, live: jax.Array
) -> jax.Array:
    """As `dense_mixture`. Reads the parameters of K experts a token instead of those of E a
    batch."""
    _check_mixture(x, gates, live)
    chosen = jax.tree.map(lambda leaf: leaf[gates.indices], parameters)
    of_token = jax.vmap(apply, (0, None))  # over K
    results = jax.vmap(jax.vmap(of_token))(chosen, x)
    return jnp.einsum("btkd,btk->btd", results, gates.weights * live)


def _check_mixture(x, gates, live):
    chex.assert_rank(x, 3)
    chex.assert_equal_shape([*gates, live])
    chex.assert_equal_shape_prefix([x, live], 2)
    chex.assert_type([*gates, live], [jnp.int32, float, bool])


def load_balance_loss(
    logits: jax.Array, indices: jax.Array, live: jax.Array, mask: jax.Array
) -> jax.Array:
    """E Σ_e f_e p_e, 1 when perfectly even (Switch Transformer, Fedus et al., 2021, eq. 4).

    f_e is the share of live choices that go to expert e, p_e its mean router probability over
    unmasked tokens; 0 where nothing is chosen. logits [B, T, E]; indices, live [B, T, K].
    """
    chex.assert_rank([logits, indices, mask], [3, 3, 2])
    chex.assert_equal_shape([indices, live])
    chex.assert_equal_shape_prefix([logits, indices, mask], 2)
    chex.assert_type([logits, indices, live, mask], [float, jnp.int32, bool, bool])
    num_experts = logits.shape[-1]
    tokens = jnp.maximum(jnp.sum(mask), 1)
    chosen = jax.nn.one_hot(indices, num_experts, dtype=logits.dtype)
    load = jnp.einsum("btke,btk->e", chosen, live.astype(logits.dtype))
    load = load / jnp.maximum(jnp.sum(live), 1)
    probability = jax.nn.softmax(logits, axis=-1)
    probability = jnp.einsum("bte,bt->e", probability, mask.astype(logits.dtype)) / tokens
    return num_experts * jnp.sum(load * probability)


def router_z_loss(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean squared log-partition of logits [B, T, E] (ST-MoE, Zoph et al., 2022, eq. 5)."""
    chex.assert_shape(logits, (*mask.shape, None))
    chex.assert_type([logits, mask], [float, bool])
    log_z = jax.nn.logsumexp(logits, axis=-1)
    return jnp.sum(mask * log_z**2) / jnp.maximum(jnp.sum(mask), 1)
