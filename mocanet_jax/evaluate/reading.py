"""How a text is read by a language model: once, from its beginning to its end.

A model with a state reads it as one stream, so that every token is predicted from all before
it; documents are streams of their own, of which several are read beside each other. A model
that sees a window has it slid over the text: by half of its length, and only the tokens of the
second half are scored, which see at least half of it.

Axes: L lanes read beside each other, T time.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.nn import stack
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.tasks.corpora.corpus import Tokens

SHORTEST_SEGMENT = 16
"""Tokens of a step, at least, where documents are shorter than config.eval.segment."""


class Pass(NamedTuple):
    """Which tokens each step of a pass over a text reads, in each lane.

    start: int32 [steps, L], place of the first input. length: int32 [steps, L], inputs, 0 in a
    lane that has come to its end. context: int32 [steps, L], the first of them that are read
    without being scored. reset: bool [steps, L], the state starts afresh.
    """

    start: np.ndarray
    length: np.ndarray
    context: np.ndarray
    reset: np.ndarray


class Plan(NamedTuple):
    """All steps of reading a text. segment: T, tokens that each step has room for."""

    passes: Pass
    segment: int

    @property
    def num_steps(self) -> int:
        return len(self.passes.start)

    @property
    def lanes(self) -> int:
        """L."""
        return self.passes.start.shape[1]

    def steps(self, tokens: Tokens, first: int = 0) -> Iterator[tuple[Pass, np.ndarray]]:
        """What each step reads, arrays [L], and its tokens with the one after the last, int32
        [L, T + 1]. first: steps that are left out."""
        for step in zip(*(part[first:] for part in self.passes), strict=True):
            now = Pass(*step)
            places = now.start[:, None] + np.arange(self.segment + 1)
            yield now, tokens.ids[np.minimum(places, len(tokens) - 1)].astype(np.int32)


def planned(tokens: Tokens, window: int | None, settings: ConfigDict, most: int) -> Plan:
    """window: of the model. settings: config.eval. most: tokens that are read."""
    if window is None:
        passes = lanes_of(tokens, settings.streams, settings.segment, most)
        return Plan(passes, int(passes.length.max()))
    return Plan(windows_of(tokens, settings.streams, window, most), window)


def read(
    model: SequenceModel,
    num_slots: int | None,
    trained: Trained,
    state: Any,
    ids: jax.Array,
    now: Pass,
    method: str = "__call__",
) -> tuple[jax.Array, tuple]:
    """One step, for a compiled function: which tokens are scored, bool [L, T], and what the
    model's method returns.

    num_slots: of its memory. ids: int32 [L, T + 1]. now: arrays [L].
    """
    fresh = trained.initial_state(model, len(ids), num_slots)
    state = stack.with_resets(state, fresh, now.reset)
    place = jnp.arange(ids.shape[1] - 1)[None]
    mask = place < now.length[:, None]
    outputs = trained.apply(model, ids[:, :-1], state, mask, method=method)
    return mask & (place >= now.context[:, None]), outputs


def evaluated_slots(model: SequenceModel, config: ConfigDict) -> int | None:
    """The `num_slots` of `initial_state` in evaluation and generation: config.eval.slots_factor
    times those of training; None for as many."""
    factor = config.eval.slots_factor
    if factor == 1 or model.layer is None:
        return None
    return model.slots_for(Fraction(factor), 0)


def lanes_of(tokens: Tokens, streams: int, segment: int, most: int) -> Pass:
    """Whole documents, one after another, in at most so many lanes of about equal length, in
    steps of `segment` tokens. most: documents are read until so many tokens, and at least one,
    of which no more are read."""
    lengths = np.diff(tokens.starts, append=len(tokens) - 1)
    # Short documents would be mostly padding.
    segment = min(segment, max(SHORTEST_SEGMENT, int(np.quantile(lengths, 0.75))))
    count = max(1, int(np.searchsorted(np.cumsum(lengths), most)) + (len(lengths) > 1))
    starts, lengths = tokens.starts[:count], np.minimum(lengths[:count], most)
    lanes: list[list[tuple[int, int, bool]]] = [[] for _ in range(min(streams, len(starts)))]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        shortest = min(lanes, key=len)
        shortest += [
            (start + first, min(segment, length - first), first == 0)
            for first in range(0, length, segment)
        ]
    steps = max(map(len, lanes))
    rows = np.zeros((steps, len(lanes), 3), np.int32)
    for n, lane in enumerate(lanes):
        rows[: len(lane), n] = lane
    start, length, reset = np.moveaxis(rows, -1, 0)
    return Pass(start, length, np.zeros_like(length), reset.astype(bool))


def windows_of(tokens: Tokens, streams: int, window: int, most: int) -> Pass:
    """Windows of each document that begin half a window apart; of all but a document's first
    the first half is context. most: as of `lanes_of`."""
    half = window // 2
    rows = []
    ends = [*tokens.starts[1:].tolist(), len(tokens) - 1]
    for start, end in zip(tokens.starts.tolist(), ends, strict=True):
        end = min(end, start + most)
        most -= end - start
        first, scored = start, start
        while scored < end:
            length = min(window, end - first)
            rows.append((first, length, scored - first))
            scored, first = first + length, first + window - half
        if most <= 0:
            break
    steps = math.ceil(len(rows) / streams)
    rows += [(0, 0, 0)] * (steps * streams - len(rows))
    start, length, context = np.moveaxis(np.array(rows, np.int32).reshape(steps, -1, 3), -1, 0)
    return Pass(start, length, context, np.ones(start.shape, bool))
