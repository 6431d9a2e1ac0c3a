"""Content heads: slots with learned keys.

Axes: B batch, T time, D width, H heads, S slots, A active slots per access, P value width, W
tokens that a convolution sees.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import addressing
from mocanet_jax.core.convolution import causal_convolution
from mocanet_jax.core.memory import Accesses, MemoryState, initial_memory
from mocanet_jax.core.precision import full
from mocanet_jax.nn.heads.base import Head, HeadOutput, Trace, run_slots
from mocanet_jax.nn.parameters import declared
from mocanet_jax.nn.partition import by_sequence
from mocanet_jax.nn.projections import Projection, Projections

WINDOW = 3
"""W, tokens that the write query sees."""

RETENTION_START = 6.0
"""Initial logit of the retention: about 0.25 % fades in a step."""


class ContentState(NamedTuple):
    """recent: float [B, W − 1, D], the last inputs. memory: the slots."""

    recent: jax.Array
    memory: MemoryState


class Content(Head):
    """Queries are compared with S learned keys, and the A best slots addressed, as in sparse
    access memory (Rae et al., 2016, section 3.1).

    The write query sees the last W tokens through a depthwise causal convolution, so that a
    value can be stored under the token before it (as the short convolutions of H3, Fu et al.,
    2023). Slots fade by a retention of every token, and each starts from a learned row. Slots
    beyond the trained number are never addressed.

    Attributes:
        temperature: of the scores of slot keys, > 0
    """

    temperature: float = 1.0

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        super().__post_init__()

    def setup(self):
        sizes, normal = self.sizes, nn.initializers.normal
        rows = (self.count, sizes.num_slots, sizes.value_width)
        self.start_rows = declared(self, "start_rows", normal(0.02), rows, decay=False)
        scale = normal(sizes.value_width**-0.5)
        self.keys = declared(self, "keys", scale, rows, decay=False)
        self.taps = self.param("taps", normal(0.5), (WINDOW, sizes.width))
        self.write_query = nn.Dense(self.count * sizes.value_width, use_bias=False)

    def projections(self) -> Projections:
        return {
            "value": self._value(),
            "strength": self._strength(),
            "read_query": Projection(self.count * self.sizes.value_width),
            "retention": Projection(self.count, nn.initializers.constant(RETENTION_START)),
        }

    def initial_state(self, batch: int, num_slots: int) -> ContentState:
        extra = num_slots - self.sizes.num_slots
        slots = jnp.pad(self.start_rows, ((0, 0), (0, extra), (0, 0)))
        slots = jnp.broadcast_to(slots, (batch, *slots.shape))
        recent = jnp.zeros((batch, WINDOW - 1, self.sizes.width))
        return ContentState(recent, initial_memory(slots))

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> HeadOutput:
        seen, recent = causal_convolution(full(z), mask, state.recent, {"write": self.taps})
        write = self._address(self.write_query(seen["write"]))
        read = self._address(projected["read_query"])
        strength = nn.sigmoid(projected["strength"]) * write_gate.open
        retention = nn.log_sigmoid(projected["retention"]) * mask[..., None]
        value = self._by_head(projected["value"])
        accesses = Accesses(write, read, value, strength, retention)
        found, slots = run_slots(self.sizes, state.memory, accesses, write_gate.may_read)
        return HeadOutput(found, ContentState(recent, slots), Trace(write, read, strength))

    def _address(self, query):
        """query: [B, T, H·P]."""
        scores = jnp.einsum("bthp,hsp->bths", self._by_head(query), self.keys)
        best = partial(
            addressing.content_address,
            num_active=self.sizes.active_slots,
            temperature=self.temperature,
        )
        return by_sequence(best, scores)

    def flops(self) -> float:
        width, d = self.count * self.sizes.value_width, self.sizes.width
        queries = 2.0 * d * width + 2 * 2.0 * self.sizes.num_slots * width
        return 2.0 * WINDOW * d + queries + self._lookup_flops()
