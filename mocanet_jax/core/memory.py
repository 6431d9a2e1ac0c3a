"""The external memory: a gated delta rule over sparse addresses.

Axes: B batch, T time, H memory heads, S slots, A active slots per access,
P value width per head, C chunk; N = B·H memories, each with its own slots.

Per token and head, with write address (i, w), read address (j, u), value v,
strength β in [0, 1] and retention α in [0, 1]:

    V      ← α V
    old    = Σ_a w_a V[i_a]
    V[i_a] ← V[i_a] + w_a β (v − old)          write
    r      = Σ_a u_a V[j_a]                    read, after the write

The update is the gated delta rule (Yang et al., 2024, "Gated Delta Networks",
eq. 10) with a sparse unit vector as its key; erase-and-add (Graves et al.,
2014, eq. 3-4) and sparse access memory (Rae et al., 2016) are its relatives.

Addresses depend on tokens and never on V. Three forms therefore compute the
same thing: `step` one token at a time, `recurrent` a scan that touches only A
slots per access, `chunked` with dense addresses and matrix products.

Retention decays every slot at every step, which would cost O(S). It is applied
lazily: a slot's pending decay is kept as a logarithm and paid when the slot is
next written; a read allows for it and leaves it pending.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core import delta_rule
from mocanet_jax.core.addressing import Address, dense_weights
from mocanet_jax.core.delta_rule import MIN_LOG_RETENTION
from mocanet_jax.core.row_scan import RowAccesses, scan_rows


class MemoryState(NamedTuple):
    """The content of B·H memories.

    slots: float [B, H, S, P].
    log_decay: float [B, H, S], at most 0: decay not yet applied to the slots;
        the content is slots · exp(log_decay). None of memories without retention,
        which hold what they have.
    """

    slots: jax.Array
    log_decay: jax.Array | None


class Accesses(NamedTuple):
    """One write and one read of every head at every token of a sequence, or at one token
    (without the time axis).

    write, read: addresses [B, T, H, A]. value: float [B, T, H, P]. strength: β, float [B, T, H]
    in [0, 1]. log_retention: log α, float [B, T, H], at most 0; None for α = 1.
    """

    write: Address
    read: Address
    value: jax.Array
    strength: jax.Array
    log_retention: jax.Array | None = None


def initial_memory(slots: jax.Array, retention: bool = True) -> MemoryState:
    """A state that holds `slots`, float [B, H, S, P], with no decay pending.

    retention: whether log_retention will ever be given; without, no step costs O(S).
    """
    chex.assert_rank(slots, 4)
    return MemoryState(slots, jnp.zeros(slots.shape[:-1], slots.dtype) if retention else None)


def content(state: MemoryState) -> jax.Array:
    """What a read would see: float [B, H, S, P]."""
    if state.log_decay is None:
        return state.slots
    return state.slots * jnp.exp(state.log_decay)[..., None]


def step(state: MemoryState, accesses: Accesses) -> tuple[jax.Array, MemoryState]:
    """One token: write, then read. Cost O(A·P), and O(S) scalars for retention.

    accesses: without a time axis, [B, H, …].
    Returns what was read, [B, H, P], and the next state.
    """
    _check(0, state, accesses)
    write, read, value, strength, log_retention = accesses
    slots, log_decay = state
    if log_retention is not None:
        log_decay = log_decay + jnp.maximum(log_retention, MIN_LOG_RETENTION)[..., None]
    b, h = (x[..., None] for x in jnp.ogrid[: slots.shape[0], : slots.shape[1]])
    at, read_at = (b, h, write.indices), (b, h, read.indices)
    rows, weights = slots[at], read.weights
    if log_decay is not None:
        rows = rows * jnp.exp(log_decay[at])[..., None]
        log_decay = log_decay.at[at].set(0.0, unique_indices=True)
        weights = weights * jnp.exp(log_decay[read_at])
    old = jnp.einsum("bha,bhap->bhp", write.weights, rows)
    delta = strength[..., None] * (value - old)
    rows = rows + write.weights[..., None] * delta[:, :, None]
    slots = slots.at[at].set(rows, unique_indices=True)
    found = jnp.einsum("bha,bhap->bhp", weights, slots[read_at])
    return found, MemoryState(slots, log_decay)


def recurrent(state: MemoryState, accesses: Accesses) -> tuple[jax.Array, MemoryState]:
    """A sequence, as a scan over time of cost O(A·P) a step, independent of S.

    accesses: [B, T, H, …].
    Returns what was read, [B, T, H, P], and the next state.

    Decay since a slot was last written is a difference of sums of log α over this call, so
    digits are lost as those sums grow: feed very long sequences that forget much in
    segments, each of which starts its own sums.
    """
    _check(1, state, accesses)
    write, read, value, strength, log_retention = accesses
    batch, heads, num_slots, width = state.slots.shape
    flat = _time_major_flat
    # One table of N·S rows and plain row numbers: XLA turns a gather along one
    # leading axis into a loop of row copies.
    first_row = (jnp.arange(batch * heads) * num_slots)[None, :, None]
    write_indices, read_indices = flat(write.indices), flat(read.indices)
    write_weights, read_weights = flat(write.weights), flat(read.weights)
    if log_retention is None:
        state = initial_memory(content(state), state.log_decay is not None)
        decay, log_decay = None, state.log_decay
    else:
        write_decay, read_decay, log_decay = _pending_decay(
            state.log_decay, write_indices, read_indices, flat(log_retention)
        )
        decay, read_weights = jnp.exp(write_decay), read_weights * jnp.exp(read_decay)
    rows = RowAccesses(
        write_indices + first_row,
        write_weights,
        read_indices + first_row,
        read_weights,
        flat(value),
        flat(strength),
        decay,
    )
    reads, table = scan_rows(state.slots.reshape(-1, width), rows)
    reads = jnp.moveaxis(reads.reshape(-1, batch, heads, width), 0, 1)
    return reads, MemoryState(_in_place(table.reshape(state.slots.shape)), log_decay)


def chunked(
    state: MemoryState, accesses: Accesses, chunk_size: int = 16
) -> tuple[jax.Array, MemoryState]:
    """A sequence, as matrix products inside chunks of C tokens; arguments as `recurrent`.

    It is the gated delta rule on dense addresses (core/delta_rule.py).

    chunk_size: C, a power of two; T need not be a multiple of it.
    """
    _check(1, state, accesses)
    write, read, value, strength, log_retention = accesses
    if log_retention is None:
        log_retention = jnp.zeros_like(strength)
    num_slots = state.slots.shape[2]
    keys = (dense_weights(address, num_slots) for address in (write, read))
    tokens = delta_rule.Tokens(*keys, value, strength, log_retention)
    reads, slots = delta_rule.chunked(content(state), tokens, chunk_size)
    return reads, initial_memory(slots, state.log_decay is not None)


def _check(time_axes, state, accesses):
    """time_axes: 1 for a sequence, 0 for one token."""
    write, read, value, strength, log_retention = accesses
    chex.assert_rank(state.slots, 4)
    batch, heads, _, width = state.slots.shape
    time = value.shape[1 : 1 + time_axes]
    if state.log_decay is not None:
        chex.assert_shape(state.log_decay, state.slots.shape[:-1])
    elif log_retention is not None:
        raise ValueError("a memory that was made without retention cannot be given any")
    chex.assert_shape(value, (batch, *time, heads, width))
    chex.assert_shape(strength, (batch, *time, heads))
    if log_retention is not None:
        chex.assert_shape(log_retention, (batch, *time, heads))
        chex.assert_type(log_retention, float)
    for address in (write, read):
        chex.assert_equal_shape(address)
        chex.assert_shape(address, (batch, *time, heads, None))
        chex.assert_type(address, [jnp.int32, float])
    chex.assert_type([state.slots, value, strength], float)


def _time_major_flat(x):
    """[B, T, H, ...] -> [T, N, ...]."""
    x = jnp.moveaxis(x, 1, 0)
    return x.reshape(x.shape[0], -1, *x.shape[3:])


@jax.custom_vjp
def _in_place(slots):
    """`slots`, [B, H, S, P], in the memory of the slots that they came from.

    With one head XLA gives the reshaped table another order of axes, of the same bytes, and
    copies it twice to come back to that of its argument. Writing one number onto itself fixes
    the order.
    """
    first = (0,) * slots.ndim
    number = jax.lax.dynamic_slice(slots, first, (1,) * slots.ndim)
    return jax.lax.dynamic_update_slice(slots, number, first)


_in_place.defvjp(lambda slots: (_in_place(slots), None), lambda _, g: (g,))


def _pending_decay(log_decay, write_indices, read_indices, log_retention):
    """Log decay that each access finds on its slots.

    log_decay: [B, H, S]. indices: [T, N, A]. log_retention: [T, N].
    Returns log decay at writes and at reads, [T, N, A], and the log decay left
    pending at the end, [B, H, S].

    The time at which a slot was last written is an integer and has no gradient;
    the decay since then is a difference of running sums.
    """
    num_memories, num_slots = log_retention.shape[1], log_decay.shape[-1]
    running = jnp.cumsum(jnp.maximum(log_retention, MIN_LOG_RETENTION), axis=0)
    memory = jnp.arange(num_memories)[:, None]
    before = log_decay.reshape(num_memories, num_slots)

    def touch(last, at):
        now, write, read = at
        at_write = last[memory, write]
        last = last.at[memory, write].set(now, unique_indices=True)
        return last, (at_write, last[memory, read])

    never = jnp.full((num_memories, num_slots), -1)
    last, (at_write, at_read) = jax.lax.scan(
        touch, never, (jnp.arange(running.shape[0]), write_indices, read_indices)
    )

    def pending(now, last, slots):  # now [..., N, 1]; last, slots [..., N, A or S]
        touched = now - running[jnp.maximum(last, 0), memory]
        return jnp.where(last < 0, now + before[memory, slots], touched)

    return (
        pending(running[..., None], at_write, write_indices),
        pending(running[..., None], at_read, read_indices),
        pending(running[-1][:, None], last, jnp.arange(num_slots)).reshape(log_decay.shape),
    )
