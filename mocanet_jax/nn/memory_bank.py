"""The memory bank: learned starting slots, and projections into and out of the memory.

Axes: B batch, T time, D width, H memory heads, S slots, P = D/H value width per head.
"""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import memory
from mocanet_jax.core.memory import MemoryState
from mocanet_jax.nn.router import Route

Form = Literal["recurrent", "chunked"]


class MemoryBank(nn.Module):
    """Writes and reads what the router addressed.

    Slots of location heads start from one learned row, since nothing there may depend on
    S; slots of content heads start from a row each.
    """

    embedding_dim: int
    num_location_heads: int
    num_content_heads: int
    num_slots: int
    form: Form = "recurrent"

    def setup(self):
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {get_args(Form)}, not {self.form!r}")
        heads = self.num_location_heads + self.num_content_heads
        width = self.embedding_dim // heads
        start = nn.initializers.normal(0.02)
        if self.num_location_heads:
            self.ring_slot = self.param(
                "ring_slots", start, (self.num_location_heads, 1, width)
            )
        if self.num_content_heads:
            self.content_slots = self.param(
                "content_slots", start, (self.num_content_heads, self.num_slots, width)
            )
        self.value = nn.Dense(self.embedding_dim, use_bias=False)
        self.output = nn.Dense(self.embedding_dim, use_bias=False)

    def initial_state(self, batch: int, num_slots: int) -> MemoryState:
        """Fresh memories; slots beyond the trained number are never addressed by content."""
        rows = []
        if self.num_location_heads:
            rows.append(jnp.repeat(self.ring_slot, num_slots, axis=1))
        if self.num_content_heads:
            extra = num_slots - self.num_slots
            rows.append(jnp.pad(self.content_slots, ((0, 0), (0, extra), (0, 0))))
        slots = jnp.concatenate(rows)
        return memory.initial_memory(jnp.broadcast_to(slots, (batch, *slots.shape)))

    def __call__(self, z: jax.Array, route: Route, state: MemoryState):
        """z: [B, T, D]. Returns what was read, projected to [B, T, D], and the next state."""
        heads = state.slots.shape[1]
        value = self.value(z).reshape(*z.shape[:2], heads, -1)
        arguments = (route.write, route.read, value, route.strength, route.log_retention)
        if z.shape[1] == 1:
            reads, state = memory.step(state, *jax.tree.map(lambda x: x[:, 0], arguments))
        else:
            run = memory.recurrent if self.form == "recurrent" else memory.chunked
            reads, state = run(state, *arguments)
        reads = reads.reshape(*z.shape[:2], heads, -1) * route.reads[..., None]
        return self.output(reads.reshape(z.shape)), state
