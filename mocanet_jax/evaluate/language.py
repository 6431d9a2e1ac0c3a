"""Evaluation of language models: a text is read once (reading.py), and its tokens are scored.

Axes: L lanes read beside each other, T time.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.evaluate.reading import Pass, evaluated_slots, planned, read
from mocanet_jax.evaluate.results import LanguageResults
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.runtime.sharding import Layout, one_device
from mocanet_jax.tasks.corpora.corpus import Tokens
from mocanet_jax.tasks.corpora.task import LanguageTask, StreamBatch, TokenScores


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
        total, plan = None, planned(tokens, self.model.window, self.config.eval, most)
        state = self._start(trained, plan.lanes)
        for now, ids in plan.steps(tokens):
            sums, state = self._step(trained, state, ids, now)
            # Added on the host: float32 would lose tokens from 2^24 on.
            sums = jax.tree.map(np.float64, jax.device_get(sums))
            total = sums if total is None else jax.tree.map(np.add, total, sums)
        return total


def _step(model, task, num_slots, trained, state, ids, now: Pass) -> tuple[Sums, jax.Array]:
    """One step of a pass. ids: int32 [L, T + 1]."""
    scored, (logits, state, aux) = read(model, num_slots, trained, state, ids, now)
    scores = task.score(logits, StreamBatch(ids[:, :-1], ids[:, 1:], scored, now.reset))
    return Sums(scores, aux.usage), state


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
