"""Which entries stay where more is written than there are slots: those of greatest importance.

Axes: B batch, H heads, S slots, C tokens of a chunk.

Every write has an importance. It takes an empty slot; where there is none, that of the entry of
least importance, the oldest among equals, unless that is more important than itself: then it is
not kept. So the slots always hold the S most important writes so far, and with equal importance
the last S. (Which entry goes is learned; memories that count what was read let the least used
one go: Santoro et al., 2016, "Meta-learning with memory-augmented neural networks"; Rae et al.,
2016, "Scaling memory-augmented neural networks with sparse reads and writes".)

A write whose key is nearly that of an entry may take its slot, whatever their importance, so
that slots are filled by different keys and the newest value of each (compare the merging of
caches of transformers: Wang et al., 2024, "Model tells you where to merge").

Which entries stay is a step, without a slope. Its gradient is that of a gate (straight-through:
Bengio et al., 2013): as if entry i counted at token t by

    σ(importance_i − θ_t),    θ_t the least importance in the slots, where all are full

so that an entry that has gone hears what it would have contributed, and so do its strength and
its key. Importance is a rank among entries: adding one number to that of all changes nothing,
and its gradient is without its mean over the writes of a chunk. Else what all entries gain
together moves the importance of all, without end.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Held(NamedTuple):
    """importance: float [B, H, S], −∞ of an empty slot. numbers: int32 [B, H, S], of the write
    that is there, from 1 on; 0 of an empty slot."""

    importance: jax.Array
    numbers: jax.Array


class Stay(NamedTuple):
    """slots: int32 [B, H, C], of each write; S of one that is not kept, and of what is no
    write. least: float [B, H, C], θ after each token, −∞ while a slot is empty. until: int32
    [B, H, S + C], the first token of the chunk at which that of each slot, then of each token,
    has gone; C where it stays, and for what was no write."""

    slots: jax.Array
    least: jax.Array
    until: jax.Array


def none_held(batch: int, heads: int, num_slots: int) -> Held:
    """Empty slots."""
    shape = (batch, heads, num_slots)
    return Held(jnp.full(shape, -jnp.inf), jnp.zeros(shape, jnp.int32))


def stay(
    held: Held,
    importance: jax.Array,
    numbers: jax.Array,
    writes: jax.Array,
    near: jax.Array | None = None,
) -> Stay:
    """Of the tokens of a chunk, one after another, without a gradient.

    importance: float [B, H, C], finite. numbers: int32 [B, H, C], of each write. writes: bool
    [B, H, C]. near: float [B, H, C, S + C], above 0 where each token would take the slot of
    each entry, the most of the greatest; None where keys do not matter.
    """
    num_slots, length = held.numbers.shape[-1], writes.shape[-1]
    every = jnp.arange(num_slots)[None, None]
    entry = jnp.broadcast_to(every, held.numbers.shape)
    near = jnp.zeros((*writes.shape, 0)) if near is None else jax.lax.stop_gradient(near)

    def turn(carry, token):
        (held, entry), (*token, place, near) = carry, token
        importance, number, writes = (x[..., None] for x in token)
        least = jnp.min(held.importance, axis=-1, keepdims=True)
        age = jnp.where(held.importance == least, -held.numbers, -jnp.iinfo(jnp.int32).max)
        slot = jnp.argmax(age, axis=-1, keepdims=True)
        kept = importance >= least
        if near.shape[-1]:
            close = jnp.take_along_axis(near, entry, axis=-1)
            close = jnp.where(held.numbers > 0, close, 0.0)
            same = jnp.max(close, axis=-1, keepdims=True) > 0
            slot = jnp.where(same, jnp.argmax(close, axis=-1, keepdims=True), slot)
            kept |= same
        slot = jnp.where(writes & kept, slot, num_slots)
        put = every == slot
        held = Held(
            jnp.where(put, importance, held.importance), jnp.where(put, number, held.numbers)
        )
        entry = jnp.where(put, num_slots + place, entry)
        return (held, entry), (slot[..., 0], jnp.min(held.importance, axis=-1))

    tokens = (jax.lax.stop_gradient(importance), numbers, writes)
    tokens = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), tokens)
    tokens = (*tokens, jnp.arange(length), jnp.moveaxis(near, 2, 0))
    start = held._replace(importance=jax.lax.stop_gradient(held.importance))
    _, outputs = jax.lax.scan(turn, (start, entry), tokens)
    slots, least = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 2), outputs)

    token = jnp.arange(length)[None, None, None]
    of = jnp.concatenate([jnp.broadcast_to(every, held.numbers.shape), slots], axis=-1)
    of, later = of[..., None], token > _since(held, length)[..., None]
    again = (of == slots[:, :, None]) & (of < num_slots) & later
    until = jnp.min(jnp.where(again, token, length), axis=-1)
    return Stay(slots, least, until)


def gates(found: Stay, held: Held, importance: jax.Array, writes: jax.Array):
    """Arguments: of `stay`, and what it found.

    Returns whether each entry is in the slots when each token reads, bool [B, H, C, S + C], and
    the gates of importance, float [B, H, C, S + C], with its gradient; 0 where the slots are
    not full, and for what is written later.
    """
    num_slots, length = held.numbers.shape[-1], importance.shape[-1]
    token = jnp.arange(length)[None, None, :, None]
    kept = jnp.concatenate([held.numbers > 0, found.slots < num_slots], axis=-1)
    written = token >= _since(held, length)[:, :, None]
    there = written & kept[:, :, None] & (token < found.until[:, :, None])
    filled = jnp.where(held.numbers > 0, held.importance, 0.0)
    every = jnp.concatenate([filled, _centred(importance, writes)], axis=-1)[:, :, None]
    full = jnp.isfinite(found.least)[..., None]
    least = jnp.where(full, found.least[..., None], 0.0)
    return there, jnp.where(full & written, jax.nn.sigmoid(every - least), 0.0)


def of_those_there(weights: jax.Array, there: jax.Array, gate: jax.Array) -> jax.Array:
    """Weights of what is there, else 0, with the gradient of what has gone, too. All
    [B, H, C, S + C]; there, gate: of `gates`."""
    fixed = jax.lax.stop_gradient
    heard = jnp.maximum(there, fixed(gate))
    soft = (weights - fixed(weights)) * heard + fixed(weights) * (gate - fixed(gate))
    return jnp.where(there, fixed(weights), 0.0) + soft


def _since(held, length):
    """When each entry was written, int32 [1, 1, S + C]: before the chunk, −1, or in it."""
    before = jnp.full(held.numbers.shape[-1], -1)
    return jnp.concatenate([before, jnp.arange(length)])[None, None]


def _centred(importance, writes):
    """[B, H, C] as it is, with a gradient that sums to 0 over writes."""
    count = jnp.maximum(jnp.sum(writes, axis=-1, keepdims=True), 1)
    mean = jnp.sum(importance * writes, axis=-1, keepdims=True) / count
    return importance + (jax.lax.stop_gradient(mean) - mean)
