"""Scores: sums over scored steps that can be added over batches and divided once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.tasks.synthetic.sequence import Batch, only_scored, score

# Three sequences of three steps over four tokens. Targets, with the scored ones marked:
#     1* 2* 0      both right                      exact
#     3* 3* 1*     right, wrong, right             not exact
#     2* 0  0      right; the wrong step is not scored  exact
TARGETS = jnp.array([[1, 2, 0], [3, 3, 1], [2, 0, 0]])
PREDICTED = jnp.array([[1, 2, 3], [3, 0, 1], [2, 1, 3]])
SCORED = jnp.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
BATCH = Batch(TARGETS, TARGETS, SCORED, jnp.ones((3, 3), bool), jnp.array([2, 3, 1]))
# The predicted token's logit is ln 5 and the others' 0: its probability is 5/8, theirs 1/8.
LOGITS = jnp.log(5.0) * jax.nn.one_hot(PREDICTED, 4)
LOSS = 5 * np.log(8 / 5) + np.log(8)


def test_sums_count_scored_steps_and_whole_sequences():
    """Otherwise an accuracy counts steps that are not scored."""
    sums = score(LOGITS, BATCH)
    assert float(sums.loss) == pytest.approx(LOSS, rel=1e-6)
    assert float(sums.correct) == 5
    assert float(sums.scored) == 6
    assert float(sums.exact) == 2
    assert float(sums.sequences) == 3


def test_means_divide_steps_by_steps_and_sequences_by_sequences():
    means = score(LOGITS, BATCH).means()
    assert float(means["task_loss"]) == pytest.approx(LOSS / 6, rel=1e-6)
    assert float(means["accuracy"]) == pytest.approx(5 / 6)
    assert float(means["exact_match"]) == pytest.approx(2 / 3)
    assert set(means) == {"task_loss", "accuracy", "exact_match"}


def test_sums_of_parts_are_the_sums_of_the_whole():
    """Otherwise the result depends on the batch size of evaluation."""
    part = lambda rows: score(LOGITS[rows], Batch(*(x[rows] for x in BATCH)))
    added = jax.tree.map(jnp.add, part(slice(0, 1)), part(slice(1, 3)))
    for one, other in zip(added, score(LOGITS, BATCH), strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-6)


def test_unscored_steps_have_no_influence():
    """Otherwise predictions at unscored steps change the loss."""
    noise = jnp.where(SCORED[..., None], 0.0, jnp.arange(4.0) * 7)
    for one, other in zip(score(LOGITS + noise, BATCH), score(LOGITS, BATCH), strict=True):
        assert float(one) == float(other)


@pytest.mark.parametrize("count", [3, 5])
def test_scored_steps_alone_have_the_scores_of_the_whole(count):
    """Steps 0 and 1, all, and 0, whatever room there is for more: otherwise training, which
    looks at nothing else, learns another task than the one that evaluation scores."""
    steps, kept = only_scored(BATCH, count)
    assert [row[:n].tolist() for row, n in zip(steps, (2, 3, 1), strict=True)] == [
        [0, 1],
        [0, 1, 2],
        [0],
    ]
    assert kept.scored.tolist() == [[i < n for i in range(count)] for n in (2, 3, 1)]
    logits = jnp.take_along_axis(LOGITS, steps[..., None], axis=1)
    for one, other in zip(score(logits, kept), score(LOGITS, BATCH), strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-6)
