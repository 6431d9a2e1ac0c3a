"""Evaluation of language models: a text is read once, from its beginning to its end.

A model with a state reads it as one stream, so that every token is predicted from all before
it; documents are streams of their own, of which several are read beside each other. A model
that sees a window has it slid over the text: by half of its length, and only the tokens of the
second half are scored, which see at least half of it.

Axes: L lanes read beside each other, T time.
"""

import math
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.evaluate.results import LanguageResults
from mocanet_jax.nn import stack
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.runtime.sharding import Layout, one_device
from mocanet_jax.tasks.corpora.corpus import Tokens
from mocanet_jax.tasks.corpora.task import LanguageTask, StreamBatch, TokenScores

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


class Sums(NamedTuple):
    """Over the tokens of a step."""

    scores: TokenScores
    usage: budget.Usage | budget.AlwaysOn


class LanguageEvaluator:
    """Compiled evaluation of one model on one text."""

    chosen_by = "loss"

    def __init__(
        self,
        model: SequenceModel,
        task: LanguageTask,
        config: ConfigDict,
        layout: Layout | None = None,
    ):
        """layout: of the parameters that will be given; None for those on one device."""
        self.model, self.task, self.config = model, task, config
        self.layout = layout or one_device()
        slots = evaluated_slots(model, config)
        self._step = self.layout.jit(
            partial(_step, model, task, slots),
            out_shardings=self.layout.replicated,
        )
        self._start = self.layout.jit(
            lambda trained, lanes: trained.initial_state(model, lanes, slots),
            static_argnums=1,
            out_shardings=self.layout.replicated,
        )

    def validate(self, trained: Trained) -> dict[str, float]:
        """Metrics of the validation split, as far as config.eval.validation_tokens."""
        most = self.config.eval.validation_tokens
        return self._metrics(trained, self.task.held_out["valid"], most)

    def test(self, trained: Trained, validation: dict[str, float]) -> LanguageResults:
        """Metrics of the whole splits. validation: not needed here."""
        splits = {
            name: self._metrics(trained, tokens) for name, tokens in self.task.held_out.items()
        }
        window = self.model.window
        return LanguageResults(splits, None if window is None else (window // 2 + 1, window))

    def describe(self, validation: dict[str, float]) -> str:
        return f"loss {validation['loss']:.4f} nats a token, {_rate(validation)}"

    def _metrics(self, trained, tokens: Tokens, most: int | None = None) -> dict[str, float]:
        sums = self._read(trained, tokens, most or len(tokens))
        means = sums.scores.means() | sums.usage.metrics()
        metrics = {name: float(value) for name, value in jax.device_get(means).items()}
        metrics["loss"] = metrics.pop("task_loss")
        metrics["tokens"] = float(sums.scores.tokens)
        return metrics | rates(metrics["loss"], tokens)

    def _read(self, trained, tokens: Tokens, most: int) -> Sums:
        settings, total = self.config.eval, None
        window = self.model.window
        if window is None:
            steps = lanes_of(tokens, settings.streams, settings.segment, most)
        else:
            steps = windows_of(tokens, settings.streams, window, most)
        segment, lanes = (window or int(steps.length.max())), steps.start.shape[1]
        state = self._start(trained, lanes)
        for step in zip(*steps, strict=True):
            now = Pass(*step)
            places = now.start[:, None] + np.arange(segment + 1)
            window_ids = tokens.ids[np.minimum(places, len(tokens) - 1)].astype(np.int32)
            sums, state = self._step(trained, state, window_ids, now)
            # Added on the host: float32 would lose tokens from 2^24 on.
            sums = jax.tree.map(np.float64, jax.device_get(sums))
            total = sums if total is None else jax.tree.map(np.add, total, sums)
        return total


def evaluated_slots(model: SequenceModel, config: ConfigDict) -> int | None:
    """The `num_slots` of `initial_state` in evaluation and generation: config.eval.slots_factor
    times those of training; None for as many."""
    factor = config.eval.slots_factor
    if factor == 1 or model.layer is None:
        return None
    return model.slots_for(Fraction(factor), 0)


def _step(model, task, num_slots, trained, state, ids, now: Pass) -> tuple[Sums, jax.Array]:
    """One step of a pass. ids: int32 [L, T + 1]."""
    fresh = trained.initial_state(model, len(ids), num_slots)
    state = stack.with_resets(state, fresh, now.reset)
    place = jnp.arange(ids.shape[1] - 1)[None]
    mask = place < now.length[:, None]
    logits, state, aux = trained.apply(model, ids[:, :-1], state, mask)
    scored = mask & (place >= now.context[:, None])
    scores = task.score(logits, StreamBatch(ids[:, :-1], ids[:, 1:], scored, now.reset))
    return Sums(scores, aux.usage), state


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


def rates(loss: float, tokens: Tokens) -> dict[str, float]:
    """Of a loss in nats a token: bits a character and a byte of the text, perplexity a token
    and a word, by the lengths of the whole split. Line ends count as words do."""
    count = len(tokens) - 1
    bits = loss * count / math.log(2)
    return {
        "bits_per_character": bits / tokens.characters,
        "bits_per_byte": bits / tokens.bytes,
        "perplexity": math.exp(min(loss, 700.0)),
        "perplexity_per_word": math.exp(min(loss * count / max(tokens.words, 1), 700.0)),
    }


def _rate(metrics):
    return (
        f"{metrics['bits_per_character']:.4f} bits a character, "
        f"perplexity {metrics['perplexity']:.2f}"
    )
