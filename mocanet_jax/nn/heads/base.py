"""The protocol of a memory head: a module that addresses, writes and reads a memory of its own.

Axes: B batch, T time, D width, H heads of one kind, S slots, A active slots per access, P width
of a head's values.

A kind of memory is a subclass of Head. A layer is given a list of them:

    MemoryConfig(heads=(Ring(1), Content(2)))

and calls each with its projections of the layer's input, and with the router's
decision to write. Reads are gated by the layer, after the head has found what there is to read
(nn/memory.py).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.associations import (
    Associations,
    Entries,
    recall,
    recall_events,
)
from mocanet_jax.core.events import by_events
from mocanet_jax.core.memory import Accesses, MemoryState
from mocanet_jax.nn.partition import by_sequence
from mocanet_jax.nn.projections import Projection, Projections

OPEN_START = 2.0
"""Initial logit of gates: all parts start engaged, and the budget closes them."""


@dataclass(frozen=True)
class Sizes:
    """What heads need to know of their layer.

    width: D. value_width: P. num_slots: S, the trained number. active_slots: A. gated: whether
    the router decides writes; else every token writes. parallel: whether time runs in matrix
    products and prefix sums, or as a scan. dtype: of activations; None for that of the
    parameters. slot_bits: of each number of slots that are written once (core/narrow.py).
    """

    width: int
    value_width: int
    num_slots: int
    active_slots: int
    gated: bool = True
    parallel: bool = False
    dtype: jnp.dtype | None = None
    slot_bits: int = 32


class WriteGate(NamedTuple):
    """The router's decision to write, and what is known of reads before they are made.

    open: float [B, T, H], 1 where the head writes and else 0, with a straight-through gradient;
        0 where masked. margins: float [B, T, H], logits above the threshold; None where routing
        is fixed and every unmasked token writes. may_read: bool [B, T, H], False where the read
        is closed whatever it finds, so that a head may return 0 there; None where every read
        counts, as in training, which tells closed gates what they would gain.
    """

    open: jax.Array
    margins: jax.Array | None
    may_read: jax.Array | None = None


class Trace(NamedTuple):
    """What a head did, for pictures and explanations; nothing in a model depends on it.

    write, read: addresses [B, T, H, A'], of any number A' ≥ 1 of slots. strength: float
    [B, T, H] in [0, 1], β of the write. write_pointer, read_pointer: float [B, T, H], in slots;
    None of heads without pointers.
    """

    write: Address
    read: Address
    strength: jax.Array
    write_pointer: jax.Array | None = None
    read_pointer: jax.Array | None = None


class HeadOutput(NamedTuple):
    """read: float [B, T, H, P], what a read would return. state: the next one.
    penalty: float [B, T] ≥ 0, quantisation penalty, a mean over heads of each kind of decision
    that is made hard; 0 where there is none. residual: float [B, T, D], added to the layer's
    output whether the read gate is open or not; None for nothing.
    """

    read: jax.Array
    state: Any
    trace: Trace
    penalty: jax.Array | float = 0.0
    residual: jax.Array | None = None


class Head(nn.Module):
    """Base class of memory heads.

    count: H, at least 1. sizes: set by the layer.

    A subclass defines the four methods below; it may declare parameters with
    nn/parameters.py:declared, which says what weight decay and devices make of them.
    """

    count: int = 1
    sizes: Sizes | None = None

    write_gate_start: ClassVar[float] = OPEN_START
    """Initial logit of the write gates."""

    narrows: ClassVar[bool] = False
    """Whether its slots can have fewer bits, sizes.slot_bits."""

    def projections(self) -> Projections:
        """What the head wants of the layer's input z, by name: all heads share one matrix
        product. A projection named "value" counts as part of a write's FLOPs."""
        raise NotImplementedError

    def initial_state(self, batch: int, num_slots: int) -> Any:
        """State before a sequence: a pytree of arrays [B, …] of their own (nothing shared, so
        that a step may reuse their memory).

        num_slots: S, at least sizes.num_slots.
        """
        raise NotImplementedError

    def __call__(
        self,
        z: jax.Array,
        projected: dict[str, jax.Array],
        write_gate: WriteGate,
        mask: jax.Array,
        state: Any,
        hardness: jax.Array,
    ) -> HeadOutput:
        """Writes, then reads, at every token.

        z: float [B, T, D], the layer's input. projected: float32 [B, T, features] of each
        projection. mask: bool [B, T]; masked tokens must leave the state as it is. hardness:
        float [B, 1, 1] in [0, 1], of decisions that are made hard.
        """
        raise NotImplementedError

    def flops(self) -> float:
        """Forward FLOPs per token of finding addresses, projections and accesses aside."""
        return 0.0

    def _by_head(self, x: jax.Array) -> jax.Array:
        """[B, T, H·n] → [B, T, H, n]."""
        return x.reshape(*x.shape[:2], self.count, -1)

    def _value(self) -> Projection:
        return Projection(self.count * self.sizes.value_width)

    def _strength(self) -> Projection:
        return Projection(self.count, nn.initializers.zeros)

    def _lookup_flops(self) -> float:
        """Of A rows of every head, read before the gate of the read is decided."""
        return 2.0 * self.count * self.sizes.value_width * self.sizes.active_slots


def run_slots(
    sizes: Sizes, state: MemoryState, accesses: Accesses, may_read: jax.Array | None = None
) -> tuple[jax.Array, MemoryState]:
    """Writes and reads of slots (core/memory.py), [B, T, H, …], in the form that fits.
    may_read: of the WriteGate. Returns what was read, [B, T, H, P], and the next state."""
    if accesses.value.shape[1] == 1:
        found, state = by_sequence(
            memory.step, state, jax.tree.map(lambda x: x[:, 0], accesses)
        )
        return found[:, None], state
    if sizes.parallel:
        return by_sequence(memory.chunked, state, accesses)
    if may_read is None:
        return by_sequence(memory.recurrent, state, accesses)
    return by_sequence(by_events, state, accesses, may_read)


def run_entries(
    state: Associations,
    entries: Entries,
    sink: jax.Array,
    may_read: jax.Array | None = None,
    **options,
) -> tuple[jax.Array, Associations, tuple[Address, Address]]:
    """Writes and reads by what entries hold (core/associations.py), of all tokens or of those
    that write or may read. may_read: of the WriteGate. options: of `recall`. Returns as it."""
    if may_read is None:
        return by_sequence(partial(recall, **options), state, entries, sink)
    return by_sequence(partial(recall_events, **options), state, entries, sink, may_read)
