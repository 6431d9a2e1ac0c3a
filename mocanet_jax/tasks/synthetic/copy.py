"""Delayed copy: remember a payload, wait, and produce it after one marker.

    input   5 9 3 · · · M · · ·
    target  · · · · · · · 5 9 3        scored on the last L steps only

A payload of L symbols, D blanks, one marker, then L blanks during which the payload
must be produced. Nothing of the payload is visible while it is scored, so a model
without memory is at chance. (The copy task of Graves et al., 2014, with symbols for
bit vectors and a delay.)

Axes: B batch, T time.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

BLANK, MARKER, VOCAB_SIZE = 0, 126, 128
NUM_SYMBOLS = 125
MIN_DELAY, MAX_DELAY = 3, 8


class CopyTask(SequenceTask):
    """Lengths are those of the payload, L."""

    vocab_size: ClassVar[int] = VOCAB_SIZE
    blank: ClassVar[int] = BLANK
    marker: ClassVar[int] = MARKER

    def num_steps(self, length: int) -> int:
        """T that fits a payload of `length` symbols with the longest delay."""
        return 2 * length + MAX_DELAY + 1

    def answer_length(self, length):
        return length

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences, padded to num_steps(fit).

        lengths: inclusive bounds of L; Python or traced ints, at most `fit`.
        """
        length_key, delay_key, payload_key = jax.random.split(key, 3)
        column = (batch, 1)
        length = jax.random.randint(length_key, column, lengths[0], lengths[1] + 1)
        delay = jax.random.randint(delay_key, column, MIN_DELAY, MAX_DELAY + 1)
        payload = jax.random.randint(payload_key, (batch, fit), 1, NUM_SYMBOLS + 1)
        return self.sequences(payload, length, delay)

    def sequences(self, payload: jax.Array, length: jax.Array, delay: jax.Array) -> Batch:
        """B sequences of the first symbols of each payload.

        payload: int [B, fit], symbols in [1, NUM_SYMBOLS]. length: int [B, 1], at most fit.
        delay: blanks before the marker, int [B, 1], at most MAX_DELAY.
        """
        fit = payload.shape[1]
        step = jnp.arange(self.num_steps(fit))[None]
        marker = length + delay
        since_marker = step - marker - 1
        scored = (since_marker >= 0) & (since_marker < length)
        place = jnp.clip(jnp.where(step < length, step, since_marker), 0, fit - 1)
        symbol = jnp.take_along_axis(payload, place, axis=1)
        tokens = jnp.where(step < length, symbol, jnp.where(step == marker, MARKER, BLANK))
        targets = jnp.where(scored, symbol, BLANK)
        return Batch(tokens, targets, scored, step <= marker + length, length[:, 0])
