"""Evaluation of text tasks: accuracy, F1, confusion, calibration, and the worst mistakes.

Axes: B batch, T time, N texts, C classes.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.evaluate.calibration import (
    cross_entropy,
    fit_temperature,
    log_probabilities,
)
from mocanet_jax.evaluate.results import TextResults, text_results
from mocanet_jax.nn.models.classifier import MocaClassifier
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.nn.models.text_baseline import TextBaseline
from mocanet_jax.nn.partition import split_batch
from mocanet_jax.runtime.sharding import Layout, one_device
from mocanet_jax.tasks.text.labelled import MAX_WORDS, LabelledTexts
from mocanet_jax.tasks.text.task import TextTask

BATCH = 128
"""Texts of an evaluation batch, as far as they are short."""

TOKENS = 8192
"""Of an evaluation batch, padding included, which bounds memory."""

SMALLEST_BATCH = 8


class TextEvaluator:
    """Compiled evaluation of one classifier on one task.

    Held-out texts choose the checkpoint and its temperature; the task's evaluation texts are
    only reported. A corpus of one's own may have one split for both, and a test split that is
    reported at the end.
    """

    chosen_by = "held_out_loss"

    def __init__(
        self,
        model: MocaClassifier | TextBaseline,
        task: TextTask,
        config: ConfigDict,
        layout: Layout | None = None,
    ):
        """layout: of the parameters that will be given; None for those on one device."""
        self.model, self.task, self.config = model, task, config
        self.layout = layout or one_device()
        self._run = self.layout.jit(
            partial(_logits_and_usage, model), out_shardings=self.layout.replicated
        )

    def validate(self, trained: Trained) -> dict[str, float]:
        held_out, texts = self.task.held_out_texts, self.task.evaluation_texts
        found = self.logits(trained, held_out.tokens)
        logits, labels = found[0], held_out.labels
        temperature = fit_temperature(logits, labels)
        metrics = {
            "held_out_accuracy": float(np.mean(logits.argmax(axis=-1) == labels)),
            "held_out_loss": cross_entropy(logits, labels, temperature),
            "temperature": temperature,
        }
        if texts is not held_out:
            found = self.logits(trained, texts.tokens)
        return metrics | self._results(texts, *found, temperature).metrics

    def describe(self, validation: dict[str, float]) -> str:
        accuracy = f"accuracy {validation['accuracy']:.2%}"
        if self.task.evaluation_texts is self.task.held_out_texts:
            return (
                f"{accuracy}, macro-F1 {validation['macro_f1']:.4f} "
                f"(commonest label: {validation['majority_share']:.2%})"
            )
        return f"{accuracy} (held out of training: {validation['held_out_accuracy']:.2%})"

    def test(self, trained: Trained, validation: dict[str, float]) -> TextResults:
        """Results on the evaluation texts, and on the test split where there is one, with the
        temperature that `validate` found."""
        temperature, test = validation["temperature"], self.task.test_texts
        results = self._scored(trained, self.task.evaluation_texts, temperature)
        if test is None:
            return results
        return results._replace(test=self._scored(trained, test, temperature))

    def _scored(self, trained, texts: LabelledTexts, temperature: float) -> TextResults:
        return self._results(texts, *self.logits(trained, texts.tokens), temperature)

    def _results(self, texts, logits, usage, temperature) -> TextResults:
        shares = {name: float(share) for name, share in usage.metrics().items()}
        log_p = log_probabilities(logits, temperature)
        return text_results(texts, log_p, shares, self.task.classes)

    def logits(self, trained, texts: list[list[str]]) -> tuple[np.ndarray, budget.Usage]:
        """float [N, C] of tokenised texts in their order, and what they used together. Of a
        text the first MAX_WORDS words are read."""
        texts = [words[:MAX_WORDS] for words in texts]
        order = np.argsort([len(words) for words in texts], kind="stable")
        rows, usages, start = [], [], 0
        while start < len(texts):
            batch = [texts[i] for i in order[start : start + BATCH]]
            length = self.task.fitting_length(len(batch[-1]))
            size = self._batch_size(length)
            batch, start = batch[:size], start + size
            tokens, mask = self.task.pad(batch, length)
            fill = ((0, size - len(batch)), (0, 0))
            logits, usage = self._run(
                trained, np.pad(tokens, (*fill, (0, 0))), np.pad(mask, fill)
            )
            rows.append(np.asarray(logits)[: len(batch)])
            usages.append(usage)
        logits = np.concatenate(rows)[np.argsort(order)]
        return logits, jax.tree.map(lambda *parts: sum(parts), *usages)

    def _batch_size(self, length: int) -> int:
        """A power of two, which devices can share."""
        fitting = 2 ** int(math.log2(max(1, TOKENS // length)))
        return min(BATCH, max(SMALLEST_BATCH, self.layout.mesh.size, fitting))


def _logits_and_usage(model, trained, tokens, mask):
    tokens, mask = split_batch((tokens, mask))
    logits, _, aux = trained.apply(model, tokens, mask=mask)
    return jnp.mean(logits, axis=0), aux.usage
