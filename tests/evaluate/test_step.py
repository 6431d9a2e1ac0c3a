"""One evaluation step: segments against whole sequences, and accesses to memory where the task
has no use for them."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.evaluate.step import eval_step, off_task_accesses
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.tasks.synthetic.copy import CopyTask
from mocanet_jax.tasks.synthetic.sequence import Batch
from mocanet_jax.train import build
from tests.train import tiny

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


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("segment", [1, 6, 17])
def test_segments_score_as_whole_sequences_do(segment):
    """Sequences of 17 steps and shorter ones; a last segment of 5 has a place for padding.
    Otherwise accuracy at a length depends on config.eval.tokens_per_batch."""
    task = CopyTask(shortest=1, longest=4, first_longest=4)
    model = build.build_model(tiny.config(), task)
    batch = task.sample(jax.random.key(0), 3, (1, 4), 4)
    params = model.init(jax.random.key(1), batch.tokens)["params"]

    @jax.jit
    def scores():
        trained = Trained(params, jnp.float64(0.5))
        return [eval_step(trained, model, task, batch, 9, n) for n in (None, segment)]

    whole, parts = scores()
    assert whole.scores.scored > 0
    assert whole.off_task.reads > 0
    for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
