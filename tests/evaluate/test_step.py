"""Accesses to memory where the task has no use for them."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from mocanet_jax.evaluate.step import off_task_accesses
from mocanet_jax.tasks.synthetic.sequence import Batch

# One sequence of six steps, the last of them padding; two are scored. One head reads at steps
# 1, 3, 4 and 5 and writes at every step.
TOKENS = jnp.array([[7, 0, 1, 9, 0, 0]])
SCORED = jnp.array([[False, False, False, True, True, False]])
MASK = jnp.array([[True, True, True, True, True, False]])
READS = jnp.array([[0.0, 1.0, 0.0, 1.0, 1.0, 1.0]])[..., None]
WRITES = jnp.ones((1, 6, 1))
MEMORY = SimpleNamespace(reads=READS, writes=WRITES)
AUX = SimpleNamespace(layers=[SimpleNamespace(memory=MEMORY)])


@pytest.mark.parametrize(("marker", "idle"), [(1, 3), (None, 2)])
def test_reads_count_where_nothing_is_scored_and_writes_where_no_symbol_stands(marker, idle):
    """A task may have no marker; then only blanks are no symbols, two of them unmasked."""
    task = SimpleNamespace(blank=0, marker=marker)
    batch = Batch(TOKENS, TOKENS, SCORED, MASK, jnp.array([3]))
    off_task = off_task_accesses(AUX, task, batch)
    assert [float(x) for x in off_task] == [1, 3, idle, idle]
