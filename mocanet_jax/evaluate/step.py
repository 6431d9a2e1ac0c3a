"""One evaluation step, as a pure function: scores, usage, and accesses that are of no use.

Axes: B batch, T time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.nn.partition import split_batch
from mocanet_jax.nn.stack import ModelAux
from mocanet_jax.tasks.synthetic.sequence import (
    Batch,
    Scores,
    SequenceTask,
    by_step,
    summed,
)


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
    segment: int | None = None,
) -> BatchSums:
    """Scores of one batch with whole-slot pointers and no dropped tokens.

    num_slots: slots of the memory, None for the trained number. segment: tokens that are read
    at a time, with the state carried, which bounds memory and changes nothing else; None for
    whole sequences.
    """
    batch = split_batch(batch)
    state = trained.initial_state(model, len(batch.tokens), num_slots)

    def read(state, part):
        logits, state, aux = trained.apply(model, part.tokens, state, part.mask)
        sums = aux.usage, off_task_accesses(aux, task, part), aux.dropped.astype(jnp.float32)
        return state, (by_step(logits, part.targets), sums)

    if segment is None:
        steps, sums = read(state, batch)[1]
    else:
        parts = _in_segments(batch, segment)
        _, (steps, sums) = jax.lax.scan(read, state, parts)
        length = batch.tokens.shape[1]
        steps = jax.tree.map(lambda x: _joined(x)[:, :length], steps)
        sums = jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)
    return BatchSums(summed(*steps, batch), *sums)


def _in_segments(batch: Batch, segment: int) -> Batch:
    """Arrays [B, T] as [segments, B, segment], the last segment padded with what is masked;
    lengths are repeated."""
    count = -(-batch.tokens.shape[1] // segment)
    room = count * segment - batch.tokens.shape[1]

    def cut(x):
        if x.ndim == 1:
            return jnp.broadcast_to(x, (count, *x.shape))
        x = jnp.pad(x, ((0, 0), (0, room)))
        return jnp.swapaxes(x.reshape(len(x), count, segment), 0, 1)

    return jax.tree.map(cut, batch)


def _joined(x):
    """[segments, B, segment] → [B, T]."""
    return jnp.swapaxes(x, 0, 1).reshape(x.shape[1], -1)


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
