"""Delayed copy: remember a payload, wait, and produce it after one marker.

    input   5 9 3 · · · M · · ·
    target  · · · · · · · 5 9 3        scored on the last L steps only

A payload of L symbols, D blanks, one marker, then L blanks during which the payload
must be produced. Nothing of the payload is visible while it is scored, so a model
without memory is at chance. (The copy task of Graves et al., 2014, with symbols for
bit vectors and a delay.)

Axes: B batch, T time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BLANK, MARKER, VOCAB_SIZE = 0, 126, 128
NUM_SYMBOLS = 125
MIN_DELAY, MAX_DELAY = 3, 8


class Batch(NamedTuple):
    """tokens, targets: int32 [B, T]. scored, mask: bool [B, T]. length: int32 [B]."""

    tokens: jax.Array
    targets: jax.Array
    scored: jax.Array
    mask: jax.Array
    length: jax.Array


def num_steps(max_length: int) -> int:
    """T that fits a payload of `max_length` symbols with the longest delay."""
    return 2 * max_length + MAX_DELAY + 1


def sample(key: jax.Array, batch: int, lengths: tuple, max_length: int) -> Batch:
    """A batch, padded to num_steps(max_length).

    lengths: (low, high), inclusive bounds of L; Python or traced ints, high ≤ max_length.
    """
    keys = jax.random.split(key, 3)
    length = jax.random.randint(keys[0], (batch, 1), lengths[0], lengths[1] + 1)
    delay = jax.random.randint(keys[1], (batch, 1), MIN_DELAY, MAX_DELAY + 1)
    payload = jax.random.randint(keys[2], (batch, max_length), 1, NUM_SYMBOLS + 1)

    step = jnp.arange(num_steps(max_length))
    marker = length + delay
    recall = step - marker - 1
    in_recall = (recall >= 0) & (recall < length)
    at = jnp.clip(jnp.where(step < length, step, recall), 0, max_length - 1)
    symbol = jnp.take_along_axis(payload, at, axis=1)
    tokens = jnp.where(step < length, symbol, jnp.where(step == marker, MARKER, BLANK))
    targets = jnp.where(in_recall, symbol, BLANK)
    return Batch(tokens, targets, in_recall, step <= marker + length, length[:, 0])
