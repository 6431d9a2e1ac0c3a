"""The memory operation over its events alone: the accesses that write or are read.

Axes: B batch, T time, H memory heads, S slots, A active slots per access, P value width;
N = B·H memories, R = B·T·H rows, one for each token and head.

A write of strength 0 leaves the content as it is, and a read whose gate is closed is of no
account. So a sequence is run as a loop over the events of its memories, each of which goes
through its own, in order; the loop ends with the memory that has most. Where no memory writes,
a turn only reads, and the reverse. Nothing is dropped, whatever the number of events.

Retention decays slots at every token, events or not. What is pending is the difference between
two running sums of log α, that of now and that of the time when a slot was last written, so
that tokens between two events cost nothing here either.

The loop has no bound that is known when it is compiled, and therefore no derivative of its
own. Its gradient is that of the same accesses as a scan over time (core/memory.py:recurrent).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core import memory
from mocanet_jax.core.delta_rule import MIN_LOG_RETENTION
from mocanet_jax.core.memory import Accesses, MemoryState
from mocanet_jax.core.rows import in_front


class _Content(NamedTuple):
    """table: float [N·S, P], slots. paid: float [N·S], the running sum of log α up to which
    decay is applied; None without retention."""

    table: jax.Array
    paid: jax.Array | None


class _Events(NamedTuple):
    """The accesses of all tokens as rows, and which of them each memory goes through.

    rows: int32 [T, N], the row of the n-th event of a memory. writes, reads: bool [T, N], what
    it does; neither behind the last one. any_writes, any_reads: bool [T], of any memory.
    addresses: float [R, 4A], slots and weights of the write and of the read. value: float
    [R, P]. strength: float [R]. running: float [R], sum of log α up to the token, or None.
    """

    rows: jax.Array
    writes: jax.Array
    reads: jax.Array
    any_writes: jax.Array
    any_reads: jax.Array
    addresses: jax.Array
    value: jax.Array
    strength: jax.Array
    running: jax.Array | None


@jax.custom_vjp
def by_events(
    state: MemoryState, accesses: Accesses, reads: jax.Array
) -> tuple[jax.Array, MemoryState]:
    """As memory.recurrent, where only some tokens read.

    reads: bool [B, T, H].
    Returns what was read, [B, T, H, P], 0 where `reads` is False, and the next state, with no
    decay pending.
    """
    chex.assert_equal_shape([accesses.strength, reads])
    chex.assert_type(reads, bool)
    return _loop(state, accesses, reads)


def _as_scan(state, accesses, reads):
    found, state = memory.recurrent(state, accesses)
    return jnp.where(reads[..., None], found, 0.0), _settled(state)


def _settled(state):
    """No decay pending: how much of it is depends on the order of computation, and a gradient
    must not."""
    return memory.initial_memory(memory.content(state), state.log_decay is not None)


by_events.defvjp(
    lambda *arguments: (by_events(*arguments), arguments),
    lambda arguments, g: jax.vjp(_as_scan, *arguments)[1](g),
)


@jax.custom_batching.custom_vmap
def _loop(state, accesses, reads):
    batch, heads, num_slots, width = state.slots.shape
    events = _events(accesses, reads)
    paid = None if state.log_decay is None else -state.log_decay.reshape(-1)
    found = jnp.zeros_like(events.value)
    content = _Content(state.slots.reshape(-1, width), paid)
    found, content = _run(content, events, found, num_slots)
    state = MemoryState(content.table.reshape(state.slots.shape), None)
    if paid is not None:
        now = _running(accesses)[:, -1, :, None]
        state = state._replace(log_decay=now - content.paid.reshape(batch, heads, num_slots))
    return found.reshape(accesses.value.shape), _settled(state)


@_loop.def_vmap
def _more_sequences(size, in_batched, *arguments):
    """Members of an ensemble are further sequences: a loop under vmap would copy all slots at
    every turn, to stop those members that are done."""

    def together(x, batched):
        x = x if batched else jnp.broadcast_to(x, (size, *x.shape))
        return x.reshape(-1, *x.shape[2:])

    results = _loop(*jax.tree.map(together, arguments, tuple(in_batched)))
    apart = lambda x: x.reshape(size, -1, *x.shape[1:])
    return jax.tree.map(apart, results), jax.tree.map(lambda _: True, results)


def _running(accesses):
    """Sums of log α up to each token, [B, T, H]; 0 for α = 1."""
    if accesses.log_retention is None:
        return jnp.zeros_like(accesses.strength)
    return jnp.cumsum(jnp.maximum(accesses.log_retention, MIN_LOG_RETENTION), axis=1)


def _events(accesses, reads):
    write, read, value, strength, _ = accesses
    batch, length, heads = strength.shape
    by_memory = lambda x: jnp.moveaxis(x, 1, 2).reshape(batch * heads, length)
    writes = strength != 0
    event = by_memory(writes | reads)
    token = in_front(event, length)[0].T
    live, token = token < length, jnp.minimum(token, length - 1)
    number = jnp.arange(batch * heads)[None]
    rows = (number // heads * length + token) * heads + number % heads
    writes, reads = (live & x.reshape(-1)[rows] for x in (writes, reads))
    parts = (write.indices, write.weights, read.indices, read.weights)
    addresses = jnp.concatenate([x.astype(value.dtype) for x in parts], axis=-1)
    return _Events(
        rows,
        writes,
        reads,
        jnp.any(writes, axis=1),
        jnp.any(reads, axis=1),
        addresses.reshape(-1, addresses.shape[-1]),
        value.reshape(-1, value.shape[-1]),
        strength.reshape(-1),
        None if accesses.log_retention is None else _running(accesses).reshape(-1),
    )


def _run(content, events, found, num_slots):
    """Goes through all events; returns what was read, [R, P], and the content."""
    turns, memories = events.rows.shape
    first = (jnp.arange(memories) * num_slots)[:, None]
    within = lambda n: n < turns
    at = lambda flags, n: flags[jnp.minimum(n, turns - 1)]
    writing = lambda n: within(n) & at(events.any_writes, n)
    reading = lambda n: within(n) & at(events.any_reads, n)

    def turn(n, content, found, writes, reads):
        rows = events.rows[n]
        slots, weights, read_slots, read_weights = jnp.split(events.addresses[rows], 4, axis=1)
        now = None if events.running is None else events.running[rows][:, None]
        if writes:
            at = (first + slots.astype(jnp.int32), weights)
            content = _write(content, at, events, n, now)
        if reads:
            at = (first + read_slots.astype(jnp.int32), read_weights)
            # What does not read is put nowhere, each at a row of its own.
            nowhere = found.shape[0] + jnp.arange(memories)
            rows = jnp.where(events.reads[n], rows, nowhere)
            read = _read(content, at, now)
            found = found.at[rows].set(read, mode="drop", unique_indices=True)
        return n + 1, content, found

    def phase(when, writes, reads):
        def run(carry):
            n, content, found = carry
            if reads:
                step = lambda c: turn(*c, writes=writes, reads=True)
                return jax.lax.while_loop(lambda c: when(c[0]), step, carry)
            step = lambda c: turn(*c, None, writes=True, reads=False)[:2]
            n, content = jax.lax.while_loop(lambda c: when(c[0]), step, (n, content))
            return n, content, found

        return run

    phases = (
        phase(lambda n: writing(n) & ~reading(n), writes=True, reads=False),
        phase(lambda n: reading(n) & ~writing(n), writes=False, reads=True),
        phase(lambda n: writing(n) & reading(n), writes=True, reads=True),
    )

    def all_phases(carry):
        for run in phases:
            carry = run(carry)
        return carry

    start = (jnp.int32(0), content, found)
    more = lambda carry: writing(carry[0]) | reading(carry[0])
    _, content, found = jax.lax.while_loop(more, all_phases, start)
    return found, content


def _write(content, address, events, n, now):
    table, paid = content
    at, weights = address
    rows = table[at]
    if now is not None:
        # Slots of a memory that does not write keep their decay pending.
        writes = events.writes[n][:, None]
        until = paid[at]
        rows = rows * jnp.exp(jnp.where(writes, now - until, 0.0))[..., None]
        paid = paid.at[at].set(jnp.where(writes, now, until), unique_indices=True)
    of_event = events.rows[n]
    strength = events.strength[of_event] * events.writes[n]
    error = events.value[of_event] - jnp.sum(weights[..., None] * rows, axis=1)
    rows = rows + (weights * strength[:, None])[..., None] * error[:, None]
    return _Content(table.at[at].set(rows, unique_indices=True), paid)


def _read(content, address, now):
    table, paid = content
    at, weights = address
    if now is not None:
        weights = weights * jnp.exp(now - paid[at])
    return jnp.sum(weights[..., None] * table[at], axis=1)
