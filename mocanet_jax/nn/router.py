"""The token router: per token, which experts may compute and which heads write and read.

Axes: B batch, T time, D width, H memory heads, E experts, G groups of N = E / G experts, J
chosen groups.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import gating, grouped
from mocanet_jax.core.budget import Thresholds
from mocanet_jax.core.hierarchy import GroupedLogits
from mocanet_jax.core.straight_through import hard_gate
from mocanet_jax.nn import partition
from mocanet_jax.nn.heads.base import OPEN_START, WriteGate
from mocanet_jax.nn.projections import Projection, Projections, repeated


class Decisions(NamedTuple):
    """expert_logits: float [B, T, E], or of both levels where experts have groups; margins
    above the threshold where routing is dynamic; None without experts. writes: of all heads,
    [B, T, H]. read_logits: float [B, T, H]; None where routing is fixed. A read is decided by
    the memory, which sees what it would return (nn/memory.py)."""

    expert_logits: jax.Array | GroupedLogits | None
    writes: WriteGate | None
    read_logits: jax.Array | None


class Groups(NamedTuple):
    """count: G. chosen: J, groups whose experts a token scores."""

    count: int
    chosen: int


class WithinGroups(nn.Module):
    """The logits of the experts of the best groups of each token: a kernel [G, D, N], of which
    a token uses J. gated: with a bias that opens gates at first."""

    groups: Groups
    size: int
    gated: bool

    @nn.compact
    def __call__(self, z: jax.Array, of_groups: jax.Array) -> GroupedLogits:
        """z: float [B, T, D]. of_groups: logits of all groups, float [B, T, G]."""
        init = nn.initializers.lecun_normal(batch_axis=0)
        kernel = self.param("kernel", init, (self.groups.count, z.shape[-1], self.size))
        bias = jnp.zeros(self.groups.count * self.size, kernel.dtype)
        if self.gated:
            bias = self.param("bias", nn.initializers.constant(OPEN_START), bias.shape)
        bias = bias.reshape(self.groups.count, self.size)
        chosen, logits = partition.by_sequence(
            self._within, z, of_groups, whole=(jnp.asarray(kernel, z.dtype), bias)
        )
        return GroupedLogits(of_groups, chosen, logits)

    def _within(self, z, of_groups, kernel, bias):
        """The J best groups, and the logits of their experts [B, T, J, N]."""
        _, chosen = jax.lax.top_k(of_groups, self.groups.chosen)
        wide = jnp.broadcast_to(z[..., None, :], (*chosen.shape, z.shape[-1]))
        logits = grouped.product(
            wide.reshape(-1, z.shape[-1]), kernel, chosen.reshape(-1)
        ).reshape(*chosen.shape, self.size)
        return chosen, logits + bias[chosen]


class Router(nn.Module):
    """Linear gates of experts and heads.

    num_experts: E. write_starts: initial logit of the write gate of each of the H heads.
    dynamic: gates decide; else K experts compute, and every head writes and reads, at every
        token.
    groups: of the experts, which are then scored in chosen groups alone; None for all.
    """

    num_experts: int
    write_starts: tuple[float, ...]
    dynamic: bool
    groups: Groups | None = None

    def projections(self) -> Projections:
        """What the router wants of its input: `expert` is of groups where there are any."""
        opening = nn.initializers.constant(OPEN_START)
        wanted = {}
        if self.num_experts:
            first = self.groups.count if self.groups else self.num_experts
            wanted["expert"] = Projection(first, opening if self.dynamic else None)
        if self.write_starts and self.dynamic:
            num_heads = len(self.write_starts)
            wanted["write_gate"] = Projection(num_heads, repeated(self.write_starts))
            wanted["read_gate"] = Projection(num_heads, opening)
        return wanted

    def flops(self, width: int) -> float:
        """Forward FLOPs per token of the logits of all gates."""
        logits = sum(p.features for p in self.projections().values())
        if self.groups:
            logits += self.groups.chosen * (self.num_experts // self.groups.count)
        return 2.0 * width * logits

    @nn.compact
    def __call__(
        self,
        projected: dict,
        mask: jax.Array,
        thresholds: Thresholds,
        z: jax.Array | None = None,
    ) -> Decisions:
        """projected: of `projections`, [B, T, features]. mask: bool [B, T]. z: float [B, T, D],
        the input, which experts in groups need."""
        experts = projected.get("expert")
        if self.groups:
            size = self.num_experts // self.groups.count
            within = WithinGroups(self.groups, size, self.dynamic, name="within")
            experts = within(z, experts)
        if self.dynamic and self.num_experts:
            experts = _margins(experts, thresholds.expert)
        if not self.write_starts:
            return Decisions(experts, None, None)
        if not self.dynamic:
            shape = (*mask.shape, len(self.write_starts))
            everywhere = jnp.broadcast_to(mask[..., None], shape).astype(jnp.float32)
            return Decisions(experts, WriteGate(everywhere, None), None)
        margins = gating.margin(projected["write_gate"], thresholds.write)
        opened = hard_gate(margins) * mask[..., None]
        return Decisions(experts, WriteGate(opened, margins), projected["read_gate"])


def _margins(logits, threshold):
    """Of experts, and of their groups, too, where they have any."""
    if isinstance(logits, GroupedLogits):
        of = lambda x: gating.margin(x, threshold)
        return logits._replace(groups=of(logits.groups), experts=of(logits.experts))
    return gating.margin(logits, threshold)
