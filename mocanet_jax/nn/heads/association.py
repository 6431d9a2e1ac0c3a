"""Association heads: values under keys, found by what the keys hold.

Axes: B batch, T time, D width, H heads, S slots, P width of values and keys, W tokens that a
convolution sees.
"""

from typing import ClassVar, Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import gating
from mocanet_jax.core.associations import Associations, Entries, no_associations
from mocanet_jax.core.convolution import causal_convolution, looking_at
from mocanet_jax.core.precision import full
from mocanet_jax.nn.heads.base import Head, HeadOutput, Trace, run_entries
from mocanet_jax.nn.parameters import declared
from mocanet_jax.nn.projections import Projection, Projections

WINDOW = 8
"""W, tokens that keys and queries see."""

SCORE_START = 10.0
"""Initial score of a query that a key answers fully; that of chance is about 0."""

SINK_START = 4.0
"""Initial score of the sink, which returns nothing."""


Eviction = Literal["oldest", "least_important", "random"]


class AssociationState(NamedTuple):
    """recent: float [B, W − 1, D], the last inputs. entries: what was written."""

    recent: jax.Array
    entries: Associations


class Association(Head):
    """What was written is found by its key (core/associations.py).

    Keys and queries are one map of two views of the last W tokens, so that from the start a
    token is answered by what stood behind it before: a key starts with the token before its
    own, a query with its own, and both learn what else to look at. Of unit length, with a
    sharpness (Graves et al., 2014, eq. 5).

    Attributes:
        eviction: what a write replaces where all slots are taken: oldest; least_important, by a
            learned map of its token (core/eviction.py); random, a control
        merge_above: cosine in (0, 1] above which a key takes the slot of an older one; 1 never
        value_rank: R, numbers of a value in its slot, a map of which is read; 0 for P
    """

    eviction: Eviction = "oldest"
    merge_above: float = 1.0
    value_rank: int = 0

    narrows: ClassVar[bool] = True

    def __post_init__(self):
        if self.eviction not in (kinds := get_args(Eviction)):
            known = ", ".join(kinds)
            raise ValueError(f"eviction must be one of {known}, not {self.eviction!r}")
        if not 0 < self.merge_above <= 1:
            raise ValueError(f"merge_above must be in (0, 1], not {self.merge_above}")
        if not self.value_rank >= 0:
            raise ValueError(f"value_rank must be at least 0, not {self.value_rank}")
        super().__post_init__()

    def setup(self):
        shape = (WINDOW, self.sizes.width)
        self.key_taps = self.param("key_taps", looking_at(1), shape)
        self.query_taps = self.param("query_taps", looking_at(0), shape)
        self.key = nn.Dense(self.count * self.sizes.value_width, use_bias=False)
        constant, heads = nn.initializers.constant, (self.count,)
        self.sharpness = declared(self, "sharpness", constant(SCORE_START), heads, decay=False)
        self.sink = declared(self, "sink", constant(SINK_START), heads, decay=False)
        if self.value_rank:
            init = nn.initializers.lecun_normal(batch_axis=0)
            shape = (self.count, self.value_rank, self.sizes.value_width)
            self.widen = self.param("widen", init, shape)

    @property
    def _rank(self):
        return self.value_rank or self.sizes.value_width

    @property
    def _by_importance(self):
        return self.eviction != "oldest" or self.merge_above < 1

    def projections(self) -> Projections:
        value = Projection(self.count * self._rank)
        wanted = {"value": value, "strength": self._strength()}
        if self.eviction == "least_important":
            # Without a kernel at first, so that at first the oldest goes.
            zeros = nn.initializers.zeros
            wanted["importance"] = Projection(self.count, kernel_init=zeros)
        return wanted

    def initial_state(self, batch: int, num_slots: int) -> AssociationState:
        width = self.sizes.value_width
        recent = jnp.zeros((batch, WINDOW - 1, self.sizes.width))
        bits = self.sizes.slot_bits
        entries = no_associations(
            batch, self.count, num_slots, width, self._rank, bits, self._by_importance
        )
        return AssociationState(recent, entries)

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> HeadOutput:
        views = {"key": self.key_taps, "query": self.query_taps}
        seen, recent = causal_convolution(full(z), mask, state.recent, views)
        strength = nn.sigmoid(projected["strength"]) * write_gate.open
        written = Entries(
            self._unit(seen["query"]) * self.sharpness[None, None, :, None],
            self._unit(seen["key"]),
            self._by_head(projected["value"]),
            strength,
            self._importance(projected, strength, state.entries.count),
        )
        sink = jnp.broadcast_to(self.sink, (z.shape[0], self.count))
        found, entries, (write, read) = run_entries(
            state.entries, written, sink, write_gate.may_read, merge_above=self.merge_above
        )
        if self.value_rank:
            found = jnp.einsum("bthr,hrp->bthp", found, self.widen)
        trace = Trace(write, read, strength * write.weights[..., 0])
        return HeadOutput(found, AssociationState(recent, entries), trace)

    def _importance(self, projected, strength, count):
        """[B, T, H], or None. By chance: that of a number of the write, so that it does not
        depend on how a sequence is cut."""
        if not self._by_importance:
            return None
        if self.eviction == "oldest":
            return jnp.zeros_like(strength)
        if self.eviction == "least_important":
            return gating.margin(projected["importance"], 0.0)
        numbers = count[:, None] + jnp.cumsum(strength > 0, axis=1, dtype=jnp.int32)
        keys = jax.random.split(jax.random.key(0), self.count)
        drawn = lambda key, number: jax.random.uniform(jax.random.fold_in(key, number))
        of_head = jax.vmap(drawn, (None, 0))
        flat = jax.vmap(of_head, (0, 1), 1)(keys, numbers.reshape(-1, self.count))
        return flat.reshape(numbers.shape)

    def _unit(self, seen):
        key = self._by_head(self.key(seen))
        return key * jax.lax.rsqrt(jnp.sum(key**2, axis=-1, keepdims=True) + 1e-6)

    def flops(self) -> float:
        width, d = self.count * self.sizes.value_width, self.sizes.width
        keys_and_queries = 2 * (2.0 * WINDOW * d + 2.0 * d * width)
        scores_and_values = 2.0 * self.sizes.num_slots * (width + self.count * self._rank)
        wider = 2.0 * self._rank * width if self.value_rank else 0.0
        return keys_and_queries + scores_and_values + wider
