"""One evaluation step, as a pure function: scores, usage, and accesses that are of no use.

Axes: B batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.nn.partition import split_batch
from mocanet_jax.nn.stack import ModelAux
from mocanet_jax.tasks.synthetic.sequence import Batch, Scores, SequenceTask, score


class OffTask(NamedTuple):
    """Accesses to memory where the task has no use for them: sums over steps of one batch and
    over memory heads, float []. reads: at steps that are not scored, of which there are
    `unscored`. writes: at steps whose token is not a symbol, `idle` of them.
    """

    reads: jax.Array
    unscored: jax.Array
    writes: jax.Array
    idle: jax.Array

    def shares(self) -> dict[str, jax.Array]:
        """In [0, 1]; 0 where there is no such step or no memory."""
        return {
            "off_task_reads": self.reads / jnp.maximum(self.unscored, 1),
            "off_task_writes": self.writes / jnp.maximum(self.idle, 1),
        }


class BatchSums(NamedTuple):
    """Sums over one batch. dropped: expert choices without room, float []."""

    scores: Scores
    usage: budget.Usage | budget.AlwaysOn
    off_task: OffTask
    dropped: jax.Array


def eval_step(
    trained: Trained,
    model: SequenceModel,
    task: SequenceTask,
    batch: Batch,
    num_slots: int | None,
) -> BatchSums:
    """Scores of one batch with whole-slot pointers and no dropped tokens.

    num_slots: slots of the memory, None for the trained number.
    """
    batch = split_batch(batch)
    state = trained.initial_state(model, len(batch.tokens), num_slots)
    logits, _, aux = trained.apply(model, batch.tokens, state, batch.mask)
    return BatchSums(
        score(logits, batch),
        aux.usage,
        off_task_accesses(aux, task, batch),
        aux.dropped.astype(jnp.float32),
    )


def off_task_accesses(aux: ModelAux, task: SequenceTask, batch: Batch) -> OffTask:
    """Over all layers with a memory."""
    unscored = batch.mask & ~batch.scored
    idle = batch.mask & ((batch.tokens == task.blank) | (batch.tokens == task.marker))
    memories = [layer.memory for layer in aux.layers if layer.memory is not None]
    count = lambda gates, where: sum(
        (jnp.sum(gate * where[..., None]) for gate in gates), start=jnp.zeros(())
    )
    heads = sum(memory.reads.shape[-1] for memory in memories)
    return OffTask(
        count([memory.reads for memory in memories], unscored),
        heads * jnp.sum(unscored, dtype=jnp.float32),
        count([memory.writes for memory in memories], idle),
        heads * jnp.sum(idle, dtype=jnp.float32),
    )
