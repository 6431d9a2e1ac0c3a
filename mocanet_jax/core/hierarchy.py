"""Choosing experts in two steps: groups, then experts of the chosen groups (Shazeer et al.,
2017, appendix B).

E experts stand in G groups of N = E / G, expert g · N + n the n-th of group g. A token scores
all groups, takes the J best, scores their J · N experts, and takes the K best of those:

    p(e) = p(g) · p(n | g)              where experts compete (fixed routing)
    margin_e = min(margin_g, margin_n)  where each has a gate (dynamic routing)

so that a token scores G + J · N things and not E; with J fixed and G = √E that grows as √E.
Probabilities are softmaxes over all groups, and over the experts of a group. A gate is open
where both margins are above 0, so that a price holds at both levels; its gradient is that of
the lower one.

The functions are those of core/dispatch.py for logits of both levels.

Axes: B batch, T time, G groups, J chosen groups, N experts of a group, K active experts.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core import dispatch
from mocanet_jax.core.dispatch import Gates


class GroupedLogits(NamedTuple):
    """groups: float [B, T, G]. chosen: int32 [B, T, J], distinct groups. experts: float
    [B, T, J, N], of the experts of the chosen groups. Margins above a threshold where routing
    is dynamic."""

    groups: jax.Array
    chosen: jax.Array
    experts: jax.Array

    @property
    def of_chosen(self) -> jax.Array:
        """Logits of the chosen groups, float [B, T, J, 1]."""
        return jnp.take_along_axis(self.groups, self.chosen, axis=-1)[..., None]


def top_k(logits: GroupedLogits, k: int) -> tuple[jax.Array, jax.Array]:
    """The K highest gates of the candidates: margins float and experts int32, [B, T, K]."""
    return _best(jnp.minimum(logits.of_chosen, logits.experts), logits.chosen, k)


def top_k_gates(logits: GroupedLogits, k: int) -> Gates:
    """The K most probable experts of the chosen groups, weighted by their probability, which is
    not rescaled (as `dispatch.top_k_gates`)."""
    of_groups = jax.nn.softmax(logits.groups, axis=-1)
    of_groups = logits._replace(groups=of_groups).of_chosen
    joint = of_groups * jax.nn.softmax(logits.experts, axis=-1)
    weights, indices = _best(joint, logits.chosen, k)
    return Gates(indices, weights)


def _best(scores, chosen, k):
    """The K highest of scores [B, T, J, N], and the numbers of their experts."""
    size = scores.shape[-1]
    best, place = jax.lax.top_k(scores.reshape(*chosen.shape[:-1], -1), k)
    groups = jnp.take_along_axis(chosen, place // size, axis=-1)
    return best, groups * size + place % size


def margins_of(logits: GroupedLogits, indices: jax.Array) -> jax.Array:
    """The gates' margins of experts of chosen groups. indices: int32 [B, T, K]. Returns float
    [B, T, K]."""
    margins = jnp.minimum(logits.of_chosen, logits.experts)
    size = margins.shape[-1]
    same = logits.chosen[..., None, :] == (indices // size)[..., None]
    place = jnp.argmax(same, axis=-1) * size + indices % size
    return jnp.take_along_axis(margins.reshape(*logits.chosen.shape[:-1], -1), place, axis=-1)


def load_balance_loss(
    logits: GroupedLogits, indices: jax.Array, live: jax.Array, mask: jax.Array
) -> jax.Array:
    """G Σ_g f_g p_g + N Σ_e f_e p_e, 2 when groups and the experts of each are evenly used.

    f is the share of live choices that go to a group or an expert; p_g the mean probability of
    a group over unmasked tokens, p_e that of an expert in its group over those of them that
    chose the group. indices, live: [B, T, K]; mask: bool [B, T].
    """
    chex.assert_equal_shape([indices, live])
    num_groups, size = logits.groups.shape[-1], logits.experts.shape[-1]
    dtype = logits.experts.dtype
    of_groups = dispatch.load_balance_loss(logits.groups, indices // size, live, mask)
    live = live.astype(dtype)
    group = jax.nn.one_hot(indices // size, num_groups, dtype=dtype)
    place = jax.nn.one_hot(indices % size, size, dtype=dtype)
    load = jnp.einsum("btkg,btkn,btk->gn", group, place, live)
    load = load / jnp.maximum(jnp.sum(live), 1)
    chose = jax.nn.one_hot(logits.chosen, num_groups, dtype=dtype) * mask[..., None, None]
    probability = jnp.einsum("btjg,btjn->gn", chose, jax.nn.softmax(logits.experts, axis=-1))
    tokens = jnp.maximum(jnp.sum(chose, axis=(0, 1, 2)), 1)
    return of_groups + size * jnp.sum(load * probability / tokens[:, None])


def router_z_loss(logits: GroupedLogits, mask: jax.Array) -> jax.Array:
    """The sum of that of the groups' logits and that of the experts', the mean over the chosen
    groups (as `dispatch.router_z_loss`)."""
    of_groups = dispatch.router_z_loss(logits.groups, mask)
    batch, length, chosen, size = logits.experts.shape
    experts = logits.experts.reshape(batch, length * chosen, size)
    return of_groups + dispatch.router_z_loss(experts, jnp.repeat(mask, chosen, axis=1))
