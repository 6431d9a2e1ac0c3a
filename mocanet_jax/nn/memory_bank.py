"""The memory bank: learned starting slots, and projections into and out of the memory.

Axes: B batch, T time, D width, H memory heads, S slots, P = D/H value width per head.
"""

from functools import partial
from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import gating, memory
from mocanet_jax.core.associations import Associations, by_content, no_associations, recall
from mocanet_jax.core.memory import MemoryState
from mocanet_jax.core.order import by_place
from mocanet_jax.core.precision import full
from mocanet_jax.nn.partition import by_sequence
from mocanet_jax.nn.route import Route


class BankState(NamedTuple):
    """slots: of location and content heads. associations: of association heads. order: of
    order heads. None where there are no such heads."""

    slots: MemoryState | None
    associations: Associations | None
    order: Associations | None

    @property
    def num_slots(self) -> int:
        """S."""
        if self.slots is not None:
            return self.slots.slots.shape[2]
        return (self.associations or self.order).strengths.shape[2]


Form = Literal["recurrent", "chunked"]

FILL_START = 2.0
"""Initial weight, in logits, of what was found: it cancels the bias that reads start open with
where nothing was written, and doubles it where something was."""


class MemoryBank(nn.Module):
    """Writes and reads what the router addressed.

    Slots of location heads start from one learned row, since nothing there may depend on
    S; slots of content heads start from a row each.

    dynamic: reads have gates. A read costs its projection; what it would get is looked at
        before, so that reads need not guess what was written.
    dtype: of matrix products with what goes in and comes out (core/precision.py); None for that
        of the parameters.
    """

    embedding_dim: int
    num_location_heads: int
    num_content_heads: int
    num_slots: int
    dynamic: bool
    form: Form = "recurrent"
    num_association_heads: int = 0
    num_order_heads: int = 0
    dtype: jnp.dtype | None = None

    def setup(self):
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {get_args(Form)}, not {self.form!r}")
        self.num_addressed = self.num_location_heads + self.num_content_heads
        heads = self.num_addressed + self.num_association_heads + self.num_order_heads
        width = self.width = self.embedding_dim // heads
        start = nn.initializers.normal(0.02)
        if self.num_location_heads:
            self.ring_slot = self.param(
                "ring_slots", start, (self.num_location_heads, 1, width)
            )
        if self.num_content_heads:
            self.content_slots = self.param(
                "content_slots", start, (self.num_content_heads, self.num_slots, width)
            )
        if self.dynamic:
            self.fill = self.param("fill", nn.initializers.constant(FILL_START), (heads,))
        ordered = self.num_order_heads * width
        dense = partial(nn.Dense, use_bias=False, dtype=self.dtype)
        if heads > self.num_order_heads:
            self.value = dense(self.embedding_dim - ordered)
        if ordered:
            self.order_value = dense(ordered)
        self.output = dense(self.embedding_dim)
        self.laps = dense(self.embedding_dim)

    def initial_state(self, batch: int, num_slots: int) -> BankState:
        """Fresh memories; slots beyond the trained number are never addressed by content."""
        slots = self._initial_slots(batch, num_slots)
        associations = order = None
        if heads := self.num_association_heads:
            associations = no_associations(batch, heads, num_slots, self.width, self.width)
        if heads := self.num_order_heads:
            order = no_associations(batch, heads, num_slots, 1, self.width)
        return BankState(slots, associations, order)

    def _initial_slots(self, batch, num_slots):
        if not self.num_addressed:
            return None
        rows = []
        if self.num_location_heads:
            rows.append(jnp.repeat(self.ring_slot, num_slots, axis=1))
        if self.num_content_heads:
            extra = num_slots - self.num_slots
            rows.append(jnp.pad(self.content_slots, ((0, 0), (0, extra), (0, 0))))
        slots = jnp.concatenate(rows)
        slots = jnp.broadcast_to(slots, (batch, *slots.shape))
        return memory.initial_memory(slots, retention=self.num_content_heads > 0)

    def __call__(
        self, z: jax.Array, route: Route, state: BankState, cost: jax.Array | float
    ) -> tuple[jax.Array, BankState, Route]:
        """z: [B, T, D]. cost: of one head's read in logits, for dynamic gates.

        Returns what was read, projected to [B, T, D], the next state, and the route with its
        reads decided.
        """
        addressed, last = self.num_addressed, -self.num_order_heads or None
        by_head = lambda x: full(x).reshape(*z.shape[:2], -1, self.width)
        value = by_head(self.value(z)) if addressed or self.num_association_heads else None
        found, used = [], []
        if self.num_addressed:
            some, slots = self._at_addresses(
                route, state.slots, value[:, :, :addressed], route.strength[:, :, :addressed]
            )
            found.append(some)
            state = state._replace(slots=slots)
        if self.num_association_heads:
            some, associations, slots = self._recalled(
                state.associations,
                route.associations,
                value[:, :, addressed:],
                route.strength[:, :, addressed:last],
                by_content,
            )
            found.append(some)
            used.append(slots)
            state = state._replace(associations=associations)
        if self.num_order_heads:
            some, order, slots = self._recalled(
                state.order,
                route.order,
                by_head(self.order_value(route.order.stored)),
                route.strength[:, :, last:],
                by_place,
            )
            found.append(some)
            used.append(slots)
            state = state._replace(order=order)
        together = lambda *heads: jnp.concatenate(heads, axis=2)
        if used:
            route = route._replace(recalled=jax.tree.map(together, *used))
        found = together(*found)
        read = found * route.reads[..., None]
        if self.dynamic:
            logits = route.read_logits + self.fill[None, None] * (2 * gating.fill(found) - 1)
            margins = gating.margin(logits, cost)
            reads = route.reads * gating.open_gate(margins)
            route = route._replace(reads=reads, read_margins=margins)
            read = gating.engaged(read, margins[..., None])
        output = self.output(read.reshape(z.shape))
        if route.laps is not None:
            output += self.laps(route.laps.reshape(*z.shape[:2], -1))
        return output, state, route

    def _recalled(self, state, keys, value, strength, score):
        run = partial(recall, score=score)
        return by_sequence(run, state, keys.query, keys.key, value, strength, keys.sink)

    def _at_addresses(self, route, state, value, strength):
        arguments = (route.write, route.read, value, strength, route.log_retention)
        if value.shape[1] == 1:
            run, arguments = memory.step, jax.tree.map(lambda x: x[:, 0], arguments)
        else:
            run = memory.recurrent if self.form == "recurrent" else memory.chunked
        found, state = by_sequence(run, state, *arguments)
        return found.reshape(value.shape), state
