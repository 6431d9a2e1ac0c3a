"""Word problems of groups: that elements are permutations under composition, what a batch
holds, and that its score distinguishes solving from guessing.

Axes: B batch, T time.
"""

from functools import lru_cache

import jax
import numpy as np
import pytest

from mocanet_jax.tasks.languages.group_word import BLANK, FIRST, GENERATING, GroupWordTask
from mocanet_jax.tasks.synthetic.sequence import score
from tests.tasks.solvers import permutation_words

LENGTHS = {"shortest": 1, "longest": 9, "first_longest": 2}
TASKS = {
    (group, n): GroupWordTask(**LENGTHS, group=group, generators=n)
    for group, n in (("S5", 2), ("A5", 2), ("A5", 5))
}
FIT, B = 9, 128
SCORE = jax.jit(lambda predicted, batch: score(50.0 * jax.nn.one_hot(predicted, 128), batch))
each_task = pytest.mark.parametrize("name", TASKS)


@lru_cache
def drawn(name, seed=0):
    """A batch as numpy arrays."""
    return jax.device_get(TASKS[name].sample(jax.random.key(seed), B, (1, FIT), FIT))


@pytest.mark.parametrize(("group", "order"), [("S5", 120), ("A5", 60)])
def test_two_generators_reach_the_whole_group(group, order):
    """Otherwise the task is the word problem of a smaller group. Walking from the identity."""
    task = GroupWordTask(**LENGTHS, group=group, generators=2)
    assert len(set(task.elements)) == order
    reached, new = {0}, {0}
    while new:
        new = {int(row[e]) for row in task.table for e in new} - reached
        reached |= new
    assert len(reached) == order


def test_products_by_hand():
    """The transposition of 0 and 1 is the 25th element of S5 in order, after the 24 that fix
    0; twice is the identity, the first. Then the cycle: 0 → 1, …, 4 → 0."""
    task = TASKS["S5", 2]
    swap, cycle = task.table
    assert task.elements[24] == GENERATING["S5"][0] == (1, 0, 2, 3, 4)
    assert (swap[0], swap[24]) == (24, 0)
    assert task.elements[cycle[0]] == (1, 2, 3, 4, 0)
    assert task.elements[cycle[24]] == (2, 1, 3, 4, 0)  # 0 → 1 → 2, 1 → 0 → 1


@each_task
def test_an_exact_solver_scores_everything(name):
    """It follows five places through lists of images, and sees no target."""
    task, batch = TASKS[name], drawn(name)
    predicted = np.zeros(batch.tokens.shape, int)
    chosen = list(GENERATING[name[0]])
    others = (e for e in task.elements if e not in chosen)
    chosen += [next(others) for _ in range(name[1] - 2)]
    for row in range(B):
        word = batch.tokens[row, batch.mask[row]] - FIRST
        products = permutation_words([chosen[g] for g in word])
        numbers = [task.elements.index(product) for product in products]
        predicted[row, : len(word)] = FIRST + name[1] + np.array(numbers)
    means = SCORE(predicted, batch).means()
    assert float(means["accuracy"]) == float(means["exact_match"]) == 1.0


@each_task
def test_a_guesser_is_at_chance(name):
    """One of as many words as there are elements."""
    task, batch = TASKS[name], drawn(name)
    first = FIRST + name[1]
    rng = np.random.default_rng(0)
    sums = SCORE(rng.integers(first, task.vocab_size, batch.tokens.shape), batch)
    chance, scored = 1 / len(task.elements), float(sums.scored)
    error = np.sqrt(chance * (1 - chance) / scored)
    assert abs(float(sums.correct) / scored - chance) < 5 * error


@each_task
def test_every_generator_is_followed_by_a_scored_element(name):
    task, batch = TASKS[name], drawn(name)
    assert batch.tokens.shape == batch.targets.shape == (B, task.num_steps(FIT)) == (B, FIT)
    assert batch.tokens.dtype == batch.targets.dtype == batch.length.dtype == np.int32
    live = np.arange(FIT) < batch.length[:, None]
    np.testing.assert_array_equal(batch.mask, live)
    np.testing.assert_array_equal(batch.scored, live)
    assert set(batch.length.tolist()) == set(range(1, FIT + 1))
    assert set(batch.tokens[live].tolist()) == set(range(FIRST, FIRST + name[1]))
    assert batch.targets[live].min() >= FIRST + name[1]
    assert batch.targets.max() < task.vocab_size == FIRST + name[1] + len(task.elements)
    assert (batch.tokens[~live] == BLANK).all()
    assert (batch.targets[~live] == BLANK).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "S4"}, "group must be S5 or A5, not 'S4'"),
        ({"generators": 1}, "generators must be from 2 to the 60 elements of A5, not 1"),
        ({"generators": 61}, "generators must be from 2 to the 60 elements of A5, not 61"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GroupWordTask(**(LENGTHS | {"group": "A5", "generators": 2} | settings))
