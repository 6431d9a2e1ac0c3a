"""Features of a text as one vector: their mean, their maximum, and a mean that is weighted by
attention (as Lin et al., 2017, with one hop). They are gathered segment by segment, so that a
text of any length takes no more memory than one segment.

Axes: B batch, T time, F features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Pool(NamedTuple):
    """Of what was read. count: float [B, 1], words. total, highest: float [B, F], sum and
    maximum of features. scores: float [B, 1], logarithm of the sum of e^score. attended: float
    [B, F], mean of features weighted by e^score."""

    count: jax.Array
    total: jax.Array
    highest: jax.Array
    scores: jax.Array
    attended: jax.Array


NOTHING = -1e30
"""Score of what was not read: e^NOTHING is 0, and unlike -inf it has differences."""


def empty_pool(batch: int, features: int) -> Pool:
    zeros = jnp.zeros((batch, features))
    none = jnp.full((batch, 1), NOTHING)
    return Pool(jnp.zeros((batch, 1)), zeros, zeros - jnp.inf, none, zeros)


def pooled(pool: Pool, features: jax.Array, scores: jax.Array, live: jax.Array) -> Pool:
    """With one more segment. features: float [B, T, F]. scores: float [B, T, 1]. live: bool
    [B, T, 1], False for padding, of which a segment may have nothing else."""
    scores = jnp.where(live, scores, NOTHING)
    both = jnp.logaddexp(pool.scores, jax.nn.logsumexp(scores, axis=1))
    share = jnp.exp(scores - both[:, None]) * live
    return Pool(
        pool.count + jnp.sum(live, axis=1),
        pool.total + jnp.sum(features * live, axis=1),
        jnp.maximum(pool.highest, jnp.max(jnp.where(live, features, -jnp.inf), axis=1)),
        both,
        jnp.exp(pool.scores - both) * pool.attended + jnp.sum(share * features, axis=1),
    )


def vector(pool: Pool) -> jax.Array:
    """[B, 3 F], of texts of at least one word."""
    return jnp.concatenate([pool.total / pool.count, pool.highest, pool.attended], axis=-1)
