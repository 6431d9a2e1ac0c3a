"""A continuous cache: the last tokens of a sequence, found again by what stood before them.

    logit'_t(v) = log( exp logit_t(v) + Σ_{i: x_i = v} exp s_{t, i} )

over the entries i, which hold the token x_i under a key of what came before it, and

    s_{t, i} = q_t·k_i + b_t − β log a_{t, i} − log max(1, a_{t, i} / H),    a = 1 + age

where age counts the entries that were added since, and H is the size of the cache in training.
Tokens that the model gives and tokens that are copied compete in one softmax, as in CopyNet (Gu
et al., 2016, eq. 4); keys as in the continuous cache (Grave et al., 2017) and the pointer
sentinel (Merity et al., 2017). Copies lose weight with a learned power of their age, as words
that were used come back in text (Anderson and Schooler, 1991), and beyond H, of which training
tells nothing, with one more power: so what a larger cache adds grows as a logarithm.

Keys may be kept in fewer bytes (core/narrow.py); they are rounded once, before they are found.

Axes: B batch, T time, S slots, K width of keys, V vocabulary, C tokens of a chunk.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.narrow import Rows, as_found, kept_as, no_rows, widened
from mocanet_jax.core.rows import held_in_ring, scan_chunks

CHUNK_SIZE = 256
"""C: tokens whose scores are in memory at a time, [B, C, S + C]."""


class CacheState(NamedTuple):
    """A ring: entry n, from 1 on, is in slot (n − 1) mod S.

    keys: [B, S, K], float or narrow. tokens: int32 [B, S]. count: int32 [B], entries so far.
    """

    keys: Rows
    tokens: jax.Array
    count: jax.Array


class Entries(NamedTuple):
    """What each token brings. query, key: float [B, T, K], q and k. bias: float [B, T], b.
    token: int32 [B, T], what is kept under the key. live: bool [B, T], whether it is kept."""

    query: jax.Array
    key: jax.Array
    bias: jax.Array
    token: jax.Array
    live: jax.Array


def empty_cache(batch: int, num_slots: int, key_width: int, bits: int = 32) -> CacheState:
    """bits: of each number of a key (core/narrow.py)."""
    return CacheState(
        no_rows((batch, num_slots, key_width), bits),
        jnp.zeros((batch, num_slots), jnp.int32),
        jnp.zeros(batch, jnp.int32),
    )


def with_copies(
    logits: jax.Array,
    state: CacheState,
    entries: Entries,
    forgetting: jax.Array | float = 0.0,
    horizon: int | None = None,
) -> tuple[jax.Array, CacheState, jax.Array]:
    """logits: float [B, T, V]. forgetting: float [], β. horizon: H, None for S.

    Returns logits' [B, T, V], where a token finds its own entry and the S − 1 before it, the
    next state, and the share [B, T] in [0, 1] of probability that comes from copies."""
    chex.assert_rank([logits, *entries], [3, 3, 3, 2, 2, 2])
    chex.assert_equal_shape_prefix([logits, *entries], 2)
    if logits.shape[1] <= CHUNK_SIZE:
        return _chunk(logits, state, entries, forgetting, horizon)

    def run(state, chunk):
        logits, state, share = _chunk(chunk[0], state, chunk[1], forgetting, horizon)
        return state, (logits, share)

    state, (logits, share) = scan_chunks(run, state, (logits, entries), CHUNK_SIZE)
    return logits, state, share


def _chunk(logits, state, entries, forgetting, horizon):
    query, key, bias, token, live = entries
    num_slots = state.tokens.shape[1]
    numbers = state.count[:, None] + jnp.cumsum(live, axis=1, dtype=jnp.int32)
    held = held_in_ring(state.count, num_slots)
    steps = jnp.arange(query.shape[1])
    earlier = (steps[None, :] <= steps[:, None])[None] & live[:, None, :]
    written = jnp.concatenate([held, numbers], axis=1)
    age = numbers[..., None] - written[:, None]  # [B, C, S + C]
    of_state = jnp.broadcast_to((held > 0)[:, None], (*numbers.shape, num_slots))
    found = jnp.concatenate([of_state, earlier], axis=-1) & (age < num_slots)
    tokens = jnp.concatenate([state.tokens, token], axis=1)
    # The keys are not joined first: a copy of them all would be most of the work of one token.
    new_key = kept_as(key, state.keys)
    found_keys = (widened(state.keys, key.shape[-1]), as_found(key, new_key))
    similar = [jnp.einsum("bck,bnk->bcn", query, keys) for keys in found_keys]
    scores = jnp.concatenate(similar, axis=-1) + bias[..., None]
    log_age = jnp.log1p(jnp.maximum(age, 0).astype(scores.dtype))
    scores -= forgetting * log_age
    if horizon is not None and horizon < num_slots:
        scores -= jnp.maximum(log_age - math.log(horizon), 0)
    scores = jnp.where(found, scores, -jnp.inf)
    logits, share = _joined(logits, scores, tokens)

    last = numbers[:, -1]
    kept = live & (last[:, None] - numbers < num_slots)
    at = jnp.where(kept, jnp.mod(numbers - 1, num_slots), num_slots)
    put = jax.vmap(lambda old, at, new: old.at[at].set(new, mode="drop"))
    return (
        logits,
        CacheState(
            jax.tree.map(lambda old, new: put(old, at, new), state.keys, new_key),
            put(state.tokens, at, token),
            last,
        ),
        share,
    )


def _joined(logits, scores, tokens):
    """logits' and the share of copies. scores: [B, C, N]; tokens: int32 [B, N]."""
    form = _over_entries if logits.shape[-1] > tokens.shape[-1] else _over_vocabulary
    copied, own = (
        jax.nn.logsumexp(jax.lax.stop_gradient(x), axis=-1) for x in (scores, logits)
    )
    share = jax.nn.sigmoid(copied - own)
    return jax.vmap(form)(logits, scores, tokens), share


def _over_vocabulary(logits, scores, tokens):
    """Of one sequence: logits [C, V], scores [C, N], tokens [N]. A pass over the V tokens."""
    highest = _highest(logits, scores)
    copies = jnp.zeros_like(logits).at[:, tokens].add(jnp.exp(scores - highest))
    return highest + jnp.log(jnp.exp(logits - highest) + copies + _smallest(logits))


def _over_entries(logits, scores, tokens):
    """The same, where V is larger than N: only tokens of entries change, and those of equal
    tokens are added up by a product with an [N, N] of equality."""
    own = jnp.take(logits, tokens, axis=-1)
    highest = _highest(own, scores)
    equal = (tokens[:, None] == tokens[None, :]).astype(logits.dtype)
    copies = jnp.exp(scores - highest) @ equal
    joined = highest + jnp.log(jnp.exp(own - highest) + copies + _smallest(logits))
    # Every entry of a token brings its part of the change.
    return logits.at[:, tokens].add((joined - own) / jnp.sum(equal, axis=0)[None])


def _highest(logits, scores):
    highest = jnp.maximum(jnp.max(logits, axis=-1), jnp.max(scores, axis=-1))
    return jax.lax.stop_gradient(highest)[:, None]


def _smallest(logits):
    """A logit 87 below the highest is as good as none."""
    return jnp.finfo(logits.dtype).tiny
