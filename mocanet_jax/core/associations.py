"""Memory by association: values under keys, read by what the keys hold.

Axes: B batch, T time, H heads, S slots, P width of values, K of keys, Q of queries, C chunk,
N = S + C.

A write takes the next of S slots, cyclically, or that of the least important entry
(core/eviction.py), and stores its key and value there. A read
weighs all slots by how well their keys match its query (content addressing: Graves et al.,
2014, eq. 5), with a sink among them that holds nothing and wins where no key matches:

    r = Σ_s w_s exp(q·k_s) v_s / (exp(sink) + Σ_s w_s exp(q·k_s)),    w_s the write's strength

Other scores than q·k_s can take its place (core/order.py).

Reads come after the write of their token. Which slot is whose depends on how many tokens
wrote, so that attention over the tokens of a chunk and over the slots that they found gives
all reads of a chunk at once; chunks follow one another. Time and memory are linear in T.

Slots may be kept in fewer bytes (core/narrow.py). A key and a value are rounded when they are
written and not again, and its own chunk finds them rounded, too, so that reads do not depend on
how a sequence is cut.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.addressing import Address
from mocanet_jax.core.dispatch import has_room
from mocanet_jax.core.eviction import Held, gates, none_held, of_those_there, stay
from mocanet_jax.core.narrow import Rows, as_found, kept_as, no_rows, widened
from mocanet_jax.core.rows import held_in_ring, in_front, scan_chunks, taken

CHUNK_SIZE = 256
"""C. A write that its gate excludes receives the gradient of what it would have contributed to
the reads of its own chunk, and of no later ones: what is not written is not kept. So does every
write to slots of fewer bytes."""


class Associations(NamedTuple):
    """keys: [B, H, S, K]. values: [B, H, S, P]; both float or narrow. strengths: [B, H, S], 0
    where never written; float16 beside narrow rows, else float.
    count: int32 [B, H], writes so far; write n, from 1 on, is in slot (n − 1) mod S.
    held: None, or the importance of what is in the slots, which then decides what stays there.
    """

    keys: Rows
    values: Rows
    strengths: jax.Array
    count: jax.Array
    held: Held | None = None


class Entries(NamedTuple):
    """The writes and queries of the tokens of a sequence.

    query: float [B, T, H, Q]. key: float [B, T, H, K]. value: float [B, T, H, P]. strength:
    float [B, T, H], at least 0; 0 writes nothing and takes no slot. importance: float
    [B, T, H], finite; None where the oldest entry goes.
    """

    query: jax.Array
    key: jax.Array
    value: jax.Array
    strength: jax.Array
    importance: jax.Array | None = None


class Places(NamedTuple):
    """Where the writes of a chunk go. live: bool [B, H, C, S + C], whether each token finds the
    entry of each slot, then that of each token of the chunk. slots: int32 [B, H, C], of each
    write, S of one that is not kept. stays: bool [B, H, C], whether it is there at the end.
    held: of Associations, at the end. gate: float [B, H, C, S + C], of importance, or None."""

    live: jax.Array
    slots: jax.Array
    stays: jax.Array
    held: Held | None = None
    gate: jax.Array | None = None


Score = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""How well keys match queries: (query [B, C, H, Q], keys [B, H, N, K], numbers int32
[B, H, N], of the writes; held [B, H, C, N], the strength of what each token finds) → scores
[B, H, C, N]."""


def by_content(query, keys, numbers, held) -> jax.Array:
    """q·k, of Q = K."""
    return jnp.einsum("bchp,bhsp->bhcs", query, keys)


def no_associations(
    batch: int,
    heads: int,
    num_slots: int,
    key_width: int,
    width: int,
    bits: int = 32,
    by_importance: bool = False,
) -> Associations:
    """An empty memory, of keys of K and values of P numbers, of so many bits each
    (core/narrow.py). by_importance: whether entries of little importance go first."""
    keys, values = (no_rows((batch, heads, num_slots, n), bits) for n in (key_width, width))
    dtype = None if bits == 32 else jnp.float16
    strengths = jnp.zeros((batch, heads, num_slots), dtype)
    held = none_held(batch, heads, num_slots) if by_importance else None
    return Associations(keys, values, strengths, jnp.zeros((batch, heads), jnp.int32), held)


def recall(
    state: Associations,
    entries: Entries,
    sink: jax.Array,
    chunk_size: int = CHUNK_SIZE,
    score: Score = by_content,
    merge_above: float = 1.0,
) -> tuple[jax.Array, Associations, tuple[Address, Address]]:
    """Writes and reads of a sequence.

    sink: float [B, H], a score. chunk_size: C. merge_above: the product of two keys above which
    the later takes the slot of the earlier one, where writes have an importance; keys of unit
    length never reach 1.
    Returns what was read, [B, T, H, P], the next state, and of every token the slot of its
    write, with the weight 1, or 0 of a write that is not kept, and the slot that its read
    weighed most, with the weight in [0, 1]: addresses [B, T, H, 1].
    """
    query, key, value, strength, _ = entries
    chex.assert_rank([query, key, value, strength], [4, 4, 4, 3])
    chex.assert_equal_shape_prefix([query, key, value, strength], 3)
    chex.assert_type([query, key, value, strength, sink], float)
    run = lambda state, chunk: _chunk(state, chunk, sink, score, merge_above)
    state, (reads, slots) = scan_chunks(run, state, entries, chunk_size)
    return reads, state, slots


def recall_events(
    state: Associations,
    entries: Entries,
    sink: jax.Array,
    may_read: jax.Array,
    chunk_size: int = CHUNK_SIZE,
    score: Score = by_content,
    merge_above: float = 1.0,
) -> tuple[jax.Array, Associations, tuple[Address, Address]]:
    """As `recall`, where only some tokens read.

    Tokens that neither write nor read leave the state as it is. Each memory's others are moved
    to the front, in order, and chunks in which no memory has any are skipped.

    may_read: bool [B, T, H]. What is read is 0 where it is False, and so are the addresses of
    tokens that neither write nor read.
    """
    chex.assert_equal_shape([entries.strength, may_read])
    batch, length, heads = may_read.shape
    event = jnp.moveaxis((entries.strength > 0) | may_read, 1, 2).reshape(-1, length)
    token, place = in_front(event, length)

    def moved(x, at):  # [B, T, H, …] by int32 [B·H, T], where T stands for 0
        x = jnp.moveaxis(x, 1, 2).reshape(batch * heads, length, *x.shape[3:])
        x = taken(jnp.pad(x, ((0, 0), (0, 1)) + ((0, 0),) * (x.ndim - 2)), at)
        return jnp.moveaxis(x.reshape(batch, heads, length, *x.shape[2:]), 2, 1)

    def run(state, chunk):
        entries, reads = chunk
        skip = lambda: (state, jax.tree.map(jnp.zeros_like, jax.eval_shape(some)[1]))
        some = lambda: _chunk(state, entries, sink, score, merge_above)
        return jax.lax.cond(has_room(jnp.sum((entries.strength > 0) | reads)), skip, some)

    packed = jax.tree.map(lambda x: moved(x, token), (entries, may_read))
    state, outputs = scan_chunks(run, state, packed, chunk_size)
    found, slots = jax.tree.map(lambda x: moved(x, place), outputs)
    return jnp.where(may_read[..., None], found, 0.0), state, slots


def _chunk(state, entries, sink, score, merge_above):
    """One chunk: query, key, value [B, C, H, …]; strength [B, C, H]; sink [B, H]."""
    query, key, value, strength, importance = entries
    num_slots = state.strengths.shape[2]
    strength = _held_as(jnp.moveaxis(strength, 1, 2), state.strengths.dtype)  # [B, H, C]
    numbers = state.count[..., None] + jnp.cumsum(strength > 0, axis=2, dtype=jnp.int32)
    new_keys, keys = _joined(state.keys, jnp.moveaxis(key, 1, 2))
    new_values, values = _joined(state.values, jnp.moveaxis(value, 1, 2))
    if importance is None:
        held = held_in_ring(state.count, num_slots)
        places = _in_ring(held, numbers, strength)
    else:
        held, near = state.held.numbers, None
        if merge_above < 1:
            near = jnp.einsum("bhcp,bhsp->bhcs", keys[:, :, num_slots:], keys) - merge_above
        importance = jnp.moveaxis(importance, 1, 2)
        places = _by_importance(state.held, importance, numbers, strength, near)
    live = places.live
    strengths = jnp.concatenate([state.strengths, strength], axis=2)

    held_by = jnp.concatenate([held, numbers], axis=2)
    scores = score(query, keys, held_by, live * strengths[:, :, None])
    scores = jnp.where(live, scores, -jnp.inf) if importance is None else scores
    sink = jnp.broadcast_to(sink[..., None, None], (*scores.shape[:3], 1))
    # Of what was written: else a key that was not, and answers best, would leave nothing.
    written = jnp.where((strengths[:, :, None] > 0) & live, scores, -jnp.inf)
    highest = jnp.maximum(jnp.max(written, axis=-1, keepdims=True), sink)
    highest = jax.lax.stop_gradient(highest)
    scores = jnp.where(scores > highest, 0.0, scores - highest)
    weights = strengths[:, :, None] * jnp.exp(scores)
    if importance is not None:
        weights = of_those_there(weights, live, places.gate)
    total = jnp.sum(weights, axis=-1, keepdims=True) + jnp.exp(sink - highest)
    reads = jnp.einsum("bhcs,bhsp->bchp", weights / total, values)

    every = jnp.broadcast_to(jnp.arange(num_slots), (*numbers.shape[:2], num_slots))
    best = jnp.argmax(weights, axis=-1, keepdims=True)
    every = jnp.concatenate([every, places.slots], axis=-1)[:, :, None]
    read_slot = jnp.take_along_axis(every, best, axis=-1)
    share = jnp.take_along_axis(weights / total, best, axis=-1)
    # An address names a slot, also that of a write that is not kept, whose weight is 0.
    slot = jnp.minimum(places.slots, num_slots - 1)[..., None]
    slots = (
        Address(slot, 1.0 * (places.slots < num_slots)[..., None]),
        Address(read_slot, share),
    )
    slots = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 2), slots)

    put = _put_at(places.slots, places.stays, num_slots)
    state = Associations(
        jax.tree.map(put, state.keys, new_keys),
        jax.tree.map(put, state.values, new_values),
        put(state.strengths, strength.astype(state.strengths.dtype)),
        numbers[..., -1],
        places.held,
    )
    return state, (reads, slots)


def _in_ring(held, numbers, strength):
    """Places of writes of which each takes the next slot. held: int32 [B, H, S]. numbers:
    int32, strength: float [B, H, C]."""
    num_slots = held.shape[-1]
    token = jnp.arange(numbers.shape[-1])
    earlier = (token[None, :] <= token[:, None])[None, None]
    live = jnp.concatenate(
        [
            numbers[..., None] - held[:, :, None] < num_slots,
            earlier & (numbers[..., None] - numbers[:, :, None] < num_slots),
        ],
        axis=-1,
    )
    stays = (strength > 0) & (numbers[..., -1:] - numbers < num_slots)
    return Places(live, jnp.mod(numbers - 1, num_slots), stays)


def _by_importance(held, importance, numbers, strength, near):
    """Places of writes of which the least important go. Arguments as of `_in_ring`, and near:
    of eviction.stay."""
    num_slots, length = held.numbers.shape[-1], numbers.shape[-1]
    found = stay(held, importance, numbers, strength > 0, near)
    stays = (found.slots < num_slots) & (found.until[..., num_slots:] == length)
    put = _put_at(found.slots, stays, num_slots)
    there, gate = gates(found, held, importance, strength > 0)
    now = Held(put(held.importance, importance), put(held.numbers, numbers))
    return Places(there, found.slots, stays, now, gate)


def _put_at(slots, stays, num_slots):
    """(old [B, H, S, …], new [B, H, C, …]) → old with what stays of new in its slots."""
    at = jnp.where(stays, slots, num_slots)
    b, h = (x[..., None] for x in jnp.ogrid[: at.shape[0], : at.shape[1]])
    return lambda old, new: old.at[b, h, at].set(new, mode="drop")


def _held_as(strength, dtype):
    """Strengths [...] as a dtype of fewer bits returns them, with their own gradient; what is
    above 0 stays above it, since 0 writes nothing."""
    if dtype != jnp.float16:
        return strength
    held = jnp.maximum(strength, jnp.finfo(dtype).tiny).astype(dtype).astype(strength.dtype)
    return strength + jax.lax.stop_gradient(jnp.where(strength > 0, held, 0.0) - strength)


def _joined(old, new):
    """new [B, H, C, n] as it will be kept, and what old [B, H, S, n] and new return, float
    [B, H, S + C, n]."""
    kept = kept_as(new, old)
    return kept, jnp.concatenate([widened(old, new.shape[-1]), as_found(new, kept)], axis=2)
