"""Evaluation of sequence tasks: accuracy on the training range and far beyond it."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mocanet_jax.evaluate.results import SequenceResults
from mocanet_jax.evaluate.step import BatchSums, eval_step
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.runtime.random_streams import TEST, VALIDATION, stream
from mocanet_jax.runtime.sharding import Layout, one_device
from mocanet_jax.tasks.synthetic.sequence import SequenceTask

SHORTEST_SEGMENT = 256
"""Tokens of a segment, at least: those of a chunk (core/associations.py)."""


class SequenceEvaluator:
    """Compiled evaluation of one model on one task.

    Sequences come from streams of the seed that training never draws from: one for
    validation while training runs, one for the final evaluation.
    """

    chosen_by = "loss"

    def __init__(
        self,
        model: SequenceModel,
        task: SequenceTask,
        config: ConfigDict,
        layout: Layout | None = None,
    ):
        """layout: of the parameters that will be given; None for those on one device."""
        self.model, self.task, self.config = model, task, config
        self.layout = layout or one_device()
        self._run = self.layout.jit(
            self._sample_and_score,
            static_argnums=(3, 4, 5, 6),
            out_shardings=self.layout.replicated,
        )

    def validate(self, trained: Trained) -> dict[str, float]:
        """Metrics on a fixed set of sequences over the task's range of lengths."""
        return self._over_range(trained, VALIDATION, self.config.eval.validation_sequences)

    def test(self, trained: Trained, validation: dict[str, float]) -> SequenceResults:
        """Metrics over the range, and at every length that the config lists.

        validation: what `validate` returned for these parameters; not needed here.
        """
        settings, task = self.config.eval, self.task
        overall = self._over_range(trained, TEST, settings.test_sequences)
        lengths = sorted({*settings.lengths, *settings.long_lengths})
        longest = max(lengths, default=task.longest)
        by_length = {}
        for length in lengths:
            fit = task.longest if length <= task.longest else longest
            count = (
                settings.sequences_per_length
                if length <= task.longest
                else settings.sequences_per_long_length
            )
            key = jax.random.fold_in(stream(self.config.seed, TEST), length)
            by_length[length] = self._mean(trained, key, (length, length), count, fit)
        return SequenceResults(overall, by_length)

    def describe(self, validation: dict[str, float]) -> str:
        return (
            f"accuracy {validation['accuracy']:.2%}, "
            f"exact match {validation['exact_match']:.2%}"
        )

    def enlarged_slots(self, fit: int) -> int | None:
        """What the model needs for lengths beyond training's range; None up to it."""
        if fit <= self.task.longest:
            return None
        return self.model.slots_for(self.task.memory_growth(fit), self.task.num_steps(fit))

    def _over_range(self, trained, name, count):
        task = self.task
        key = stream(self.config.seed, name)
        return self._mean(trained, key, (task.shortest, task.longest), count, task.longest)

    def _mean(self, trained, key, lengths, count, fit):
        """Sums over batches of one size, whole batches until `count` sequences are reached.

        The batch shrinks with the sequence, and one sequence that is still too long is read in
        segments, so that one compilation serves every length of a fit and memory stays
        bounded.
        """
        steps = self.task.num_steps(fit)
        batch, segment = batches_of(self.config.eval.tokens_per_batch, steps, count)
        slots = self.enlarged_slots(fit)
        bounds = jnp.array(lengths, jnp.int32)
        total = None
        for i in range(math.ceil(count / batch)):
            key_i = jax.random.fold_in(key, i)
            sums = self._run(trained, key_i, bounds, batch, fit, slots, segment)
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
        return _means(total)

    def _sample_and_score(
        self, trained, key, lengths, batch, fit, num_slots, segment
    ) -> BatchSums:
        sample = partial(self.task.sample, fit=fit)
        batch = sample(key, batch, (lengths[0], lengths[1]))
        return eval_step(trained, self.model, self.task, batch, num_slots, segment)


def batches_of(tokens: int, steps: int, count: int) -> tuple[int, int | None]:
    """Sequences of a batch, and the tokens of a segment in which each is read; None for whole
    sequences.

    tokens: of a batch, at most, but for one segment of SHORTEST_SEGMENT. steps: of a sequence.
    count: of sequences that are needed.
    """
    most = max(tokens, SHORTEST_SEGMENT)
    if steps <= most:
        return max(1, min(count, tokens // steps)), None
    return 1, math.ceil(steps / math.ceil(steps / most))


def _means(sums: BatchSums) -> dict[str, float]:
    means = sums.scores.means() | sums.usage.metrics() | sums.off_task.shares()
    means["loss"] = means.pop("task_loss")
    means["sequences"] = sums.scores.sequences
    return {name: float(value) for name, value in jax.device_get(means).items()}
