"""Priority queue heads: values in the order of a learned rank.

Axes: B batch, T time, D width, H heads, S slots, P value width, W tokens that a convolution
sees.
"""

from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.associations import Associations, Entries, no_associations
from mocanet_jax.core.convolution import causal_convolution, looking_at
from mocanet_jax.core.order import by_place
from mocanet_jax.core.precision import full
from mocanet_jax.core.straight_through import hard_gate, quantisation_penalty
from mocanet_jax.nn.heads.base import Head, HeadOutput, Trace, run_entries
from mocanet_jax.nn.heads.pointers import pointer_projection, steps
from mocanet_jax.nn.parameters import declared
from mocanet_jax.nn.projections import Projection, Projections

WINDOW = 3
"""W, tokens that a value is a map of."""

SINK_START = -4.0
"""Initial score of the sink, which returns nothing; what is at the place of the read scores
0."""

COMPARISON_FLOPS = 14.0
"""For each pair of entries whose order is compared and counted (core/order.py)."""


class QueueState(NamedTuple):
    """recent: float [B, W − 1, D], the last inputs. place: float [B, H], of the last read, any
    number. entries: what was written."""

    recent: jax.Array
    place: jax.Array
    entries: Associations


class PriorityQueue(Head):
    """A write leaves a value and a rank, a linear function of its token; a read returns the
    value at a place of the order of falling rank (core/order.py). The place moves as pointers
    do, and
    rests where something is written: a queue takes or gives.

    A value is a map of a token and the one before it, since the token of a rank often follows
    what is to be sorted. What is half written would have half a place, so that writes are made
    hard.

    Attributes:
        sharpness: κ of the softest read, > 0
    """

    sharpness: float = 1.0

    write_gate_start: ClassVar[float] = 0.0

    def __post_init__(self):
        if not self.sharpness > 0:
            raise ValueError(f"sharpness must be above 0, not {self.sharpness}")
        super().__post_init__()

    def setup(self):
        self.taps = self.param("taps", looking_at(0, 1), (WINDOW, self.sizes.width))
        width = self.count * self.sizes.value_width
        self.value = nn.Dense(width, use_bias=False, dtype=self.sizes.dtype)
        sink = nn.initializers.constant(SINK_START)
        self.sink = declared(self, "sink", sink, (self.count,), decay=False)

    def projections(self) -> Projections:
        strength = {} if self.sizes.gated else {"strength": self._strength()}
        return strength | {
            "rank": Projection(self.count),
            "place_pointer": pointer_projection(self.count, (0.0, 0.0, 1.0)),
        }

    def initial_state(self, batch: int, num_slots: int) -> QueueState:
        recent = jnp.zeros((batch, WINDOW - 1, self.sizes.width))
        entries = no_associations(batch, self.count, num_slots, 1, self.sizes.value_width)
        return QueueState(recent, jnp.zeros((batch, self.count)), entries)

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> HeadOutput:
        seen, recent = causal_convolution(full(z), mask, state.recent, {"value": self.taps})
        moved = steps(projected["place_pointer"], mask, hardness, self.sharpness)
        held, penalty = self._held(projected, write_gate, mask, hardness)
        place = state.place[:, None] + jnp.cumsum(moved.shift * (1 - held), axis=1)
        value = seen["value"].astype(self.sizes.dtype or seen["value"].dtype)
        written = Entries(
            jnp.stack([place, moved.sharpness], axis=-1),
            projected["rank"][..., None],
            full(self._by_head(self.value(value))),
            held,
        )
        sink = jnp.broadcast_to(self.sink, (z.shape[0], self.count))
        found, entries, (write, read) = run_entries(
            state.entries, written, sink, write_gate.may_read, score=by_place
        )
        return HeadOutput(
            found,
            QueueState(recent, place[:, -1], entries),
            Trace(write, read, held),
            moved.penalty + penalty,
        )

    def _held(self, projected, write_gate, mask, hardness):
        """Whether a token is in the queue, and the penalty of what is halfway: without gates
        the strength decides."""
        if write_gate.margins is not None:
            return hard_gate(write_gate.margins, hardness) * mask[..., None], 0.0
        logits = projected["strength"]
        penalty = jnp.mean(quantisation_penalty(nn.sigmoid(logits)), axis=-1)
        return hard_gate(logits, hardness) * mask[..., None], penalty

    def flops(self) -> float:
        entries = self.sizes.num_slots + 1
        per_head = COMPARISON_FLOPS * entries**2 + 2.0 * entries * self.sizes.value_width
        return 2.0 * WINDOW * self.sizes.width + self.count * per_head
