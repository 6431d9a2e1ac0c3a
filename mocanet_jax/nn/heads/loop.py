"""Loop heads: a read pointer that goes round what was written.

Axes: B batch, T time, D width, H heads.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mocanet_jax.core import addressing
from mocanet_jax.core.straight_through import hard_gate
from mocanet_jax.nn.heads.pointers import PointerHead, Trajectory


class Loop(PointerHead):
    """A write pointer that moves only where its head writes, and not below 0; and a read
    pointer that from the last slot written goes on at the first (core/addressing.py:loop).

    Flags, float [B, T, H, M + 1], are 1 where the read pointer has come to the start of wrap
    0, 1, …, M, and are projected to the residual stream. Reads start undecided, since it is
    left to learn whether they go forwards or back.

    Attributes:
        max_wraps: wraps of the read pointer that are distinguished, M ≥ 1
    """

    max_wraps: int = 1

    starts: ClassVar = {"write": (-4.0, -2.0, 4.0), "read": (0.0, 0.0, 1.0)}

    def __post_init__(self):
        if self.max_wraps < 1:
            raise ValueError(f"max_wraps must be at least 1, not {self.max_wraps}")
        super().__post_init__()

    def setup(self):
        super().setup()
        self.wraps = nn.Dense(self.sizes.width, use_bias=False, dtype=self.sizes.dtype)

    def advance(self, shift, state, opened, num_slots) -> Trajectory:
        write = addressing.advance_above(state.write, shift[:, :, 0] * opened)
        position = state.read[:, None] + jnp.cumsum(shift[:, :, 1], axis=1)
        slot, distance, length = addressing.loop(position, write)
        starts = length[..., None] * jnp.arange(self.max_wraps + 1)[None, None, None]
        flags = hard_gate(distance[..., None] - starts + 0.5)
        residual = self.wraps(flags.reshape(*flags.shape[:2], -1))
        return Trajectory(write, slot, (write[:, -1], position[:, -1]), residual)

    def flops(self) -> float:
        return super().flops() + 2.0 * self.sizes.width * self.count * (self.max_wraps + 1)
