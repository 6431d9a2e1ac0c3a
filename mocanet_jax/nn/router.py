"""The token router: per token, which experts may compute and which heads write and read.

Axes: B batch, T time, H memory heads, E experts.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import gating
from mocanet_jax.core.budget import Thresholds
from mocanet_jax.core.straight_through import hard_gate
from mocanet_jax.nn.heads.base import OPEN_START, WriteGate
from mocanet_jax.nn.projections import Projection, Projections, repeated


class Decisions(NamedTuple):
    """expert_logits: float [B, T, E]; margins above the threshold where routing is dynamic;
    None without experts. writes: of all heads, [B, T, H]. read_logits: float [B, T, H]; None
    where routing is fixed. A read is decided by the memory, which sees what it would return
    (nn/memory.py)."""

    expert_logits: jax.Array | None
    writes: WriteGate | None
    read_logits: jax.Array | None


class Router(nn.Module):
    """Linear gates of experts and heads.

    num_experts: E. write_starts: initial logit of the write gate of each of the H heads.
    dynamic: gates decide; else K experts compute, and every head writes and reads, at every
        token.
    """

    num_experts: int
    write_starts: tuple[float, ...]
    dynamic: bool

    def projections(self) -> Projections:
        opening = nn.initializers.constant(OPEN_START)
        wanted = {}
        if self.num_experts:
            wanted["expert"] = Projection(self.num_experts, opening if self.dynamic else None)
        if self.write_starts and self.dynamic:
            num_heads = len(self.write_starts)
            wanted["write_gate"] = Projection(num_heads, repeated(self.write_starts))
            wanted["read_gate"] = Projection(num_heads, opening)
        return wanted

    def flops(self, width: int) -> float:
        """Forward FLOPs per token of the logits of all gates."""
        return 2.0 * width * sum(p.features for p in self.projections().values())

    def __call__(self, projected: dict, mask: jax.Array, thresholds: Thresholds) -> Decisions:
        """projected: of `projections`, [B, T, features]. mask: bool [B, T]."""
        experts = projected.get("expert")
        if self.dynamic and self.num_experts:
            experts = gating.margin(experts, thresholds.expert)
        if not self.write_starts:
            return Decisions(experts, None, None)
        if not self.dynamic:
            shape = (*mask.shape, len(self.write_starts))
            everywhere = jnp.broadcast_to(mask[..., None], shape).astype(jnp.float32)
            return Decisions(experts, WriteGate(everywhere, None), None)
        margins = gating.margin(projected["write_gate"], thresholds.write)
        opened = hard_gate(margins) * mask[..., None]
        return Decisions(experts, WriteGate(opened, margins), projected["read_gate"])
