"""Training on parallel streams, as a pure function of the seed and the step.

Every document is cut into segments of T inputs, the last with what is left; targets are the
tokens after them. Segments of all documents are laid end to end, M in all, and stream b of an
epoch reads segments b · (M // B) … (b + 1) · (M // B) − 1, one a step.

    documents  | a b c | d e |      T = 2, B = 1        | is the boundary
    inputs     | a    b c    | d    e
    targets    a b    c |    d e    |
    reset      yes    no     yes    no

Axes: B streams, T time, M segments, N tokens.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.corpus import Tokens


class Selection(NamedTuple):
    """Which segments each of some steps trains on.

    Attributes:
        start: int32 [steps, B], place of the first input
        length: int32 [steps, B], inputs that count, 1 … T
        reset: bool [steps, B], the state starts afresh: the first segment of a document or of
            an epoch
    """

    start: np.ndarray
    length: np.ndarray
    reset: np.ndarray


class Segments(NamedTuple):
    """tokens, targets: int32 [B, T], 0 where mask is False. mask: bool [B, T]."""

    tokens: jax.Array
    targets: jax.Array
    mask: jax.Array


@lru_cache(maxsize=2)
def steps_per_epoch(tokens: Tokens, batch: int, segment: int) -> int:
    """M // B, the same in every epoch. Raises UserError where it is 0."""
    inputs = _inputs(tokens)
    alone = len(inputs) == 1
    segments = int(inputs[0] // segment if alone else _counts(inputs, segment).sum())
    if segments < batch:
        raise UserError(
            f"the training split has {segments:,} segments of {segment} tokens, fewer than "
            f"there are streams; lower config.train.batch_size={batch} or "
            f"config.data.segment={segment}, or pass more text"
        )
    return segments // batch


def _inputs(tokens):
    """int64 [documents], tokens of each that have one after them."""
    return np.diff(tokens.starts, append=len(tokens) - 1)


def _counts(inputs, segment):
    return -(-inputs // segment)


def select(
    tokens: Tokens, batch: int, seed: int, segment: int, step: int, count: int
) -> Selection:
    """The segments of `count` steps from `step` on, as a pure function of its arguments.

    batch: B. segment: T. Documents are reshuffled each epoch. A single document begins each
    epoch at a random one of its first T tokens, and M is the number of segments that every
    such beginning leaves. Of the rest, fewer than B segments, an epoch reads nothing.
    Raises UserError where there are fewer than B segments.
    """
    steps = steps_per_epoch(tokens, batch, segment)
    parts = []
    while count > 0:
        epoch, place = divmod(step, steps)
        taken = min(count, steps - place)
        layout = _epoch(tokens, batch, seed, segment, epoch)
        parts.append([part[place : place + taken] for part in layout])
        step, count = step + taken, count - taken
    return Selection(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@lru_cache(maxsize=2)
def _epoch(tokens, batch, seed, segment, epoch) -> Selection:
    """All steps of an epoch."""
    random = np.random.default_rng((seed, epoch))
    inputs, starts = _inputs(tokens), tokens.starts
    if len(starts) == 1:
        offset = random.integers(segment)
        inputs, starts = inputs - offset, starts + offset
    else:
        order = random.permutation(len(starts))
        inputs, starts = inputs[order], starts[order]
    counts = _counts(inputs, segment)
    steps = steps_per_epoch(tokens, batch, segment)
    document = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    within, document = within[: steps * batch] * segment, document[: steps * batch]
    reset = (within == 0).reshape(batch, steps)
    reset[:, 0] = True
    length = np.minimum(segment, inputs[document] - within)
    streams = [part.reshape(batch, steps) for part in (starts[document] + within, length)]
    return Selection(*(part.T.astype(np.int32) for part in streams), reset.T.copy())


def gather(ids: jax.Array, row: Selection, segment: int) -> Segments:
    """The inputs and targets of one step. ids: [N]. row: one step of a Selection, each [B].
    segment: T."""
    places = row.start[:, None] + jnp.arange(segment + 1)[None]
    window = ids.at[places].get(mode="clip").astype(jnp.int32)
    mask = jnp.arange(segment)[None] < row.length[:, None]
    return Segments(jnp.where(mask, window[:, :-1], 0), jnp.where(mask, window[:, 1:], 0), mask)
