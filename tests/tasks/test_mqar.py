"""Multi-query associative recall: what a batch holds, where queries stand, and that its score
distinguishes recalling from guessing.

Axes: B batch, T time, N pairs.
"""

from functools import lru_cache

import jax
import numpy as np
import pytest

from mocanet_jax.tasks.synthetic.mqar import BLANK, NOISE_KINDS, MqarTask
from mocanet_jax.tasks.synthetic.sequence import score
from tests.tasks.solvers import multi_query_recall

SETTINGS = {"shortest": 1, "longest": 12, "first_longest": 2, "vocab_size": 64}
SETTINGS |= {"input_length": 40, "power": 0.01, "random_filler": True}
TASK = MqarTask(**SETTINGS)
FIRST_VALUE, FIT, T, B = 32, 12, 48, 256
SAMPLE = jax.jit(TASK.sample, static_argnums=(1, 3))
SCORE = jax.jit(lambda predicted, batch: score(50.0 * jax.nn.one_hot(predicted, 64), batch))


@lru_cache
def drawn(seed=0, shortest=1, longest=FIT):
    """A batch as numpy arrays."""
    return jax.device_get(SAMPLE(jax.random.key(seed), B, (shortest, longest), FIT))


def test_a_context_is_pairs_of_keys_and_values_none_twice():
    batch = drawn()
    assert batch.tokens.shape == batch.targets.shape == (B, T)
    assert batch.tokens.dtype == batch.targets.dtype == batch.length.dtype == np.int32
    assert set(batch.length.tolist()) == set(range(1, FIT + 1))
    for tokens, pairs in zip(batch.tokens, batch.length, strict=True):
        keys, values = tokens[: 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
        assert len(set(keys.tolist())) == len(set(values.tolist())) == pairs
        assert ((keys >= 1) & (keys < FIRST_VALUE)).all()
        assert ((values >= FIRST_VALUE) & (values < 64)).all()


def test_every_key_is_queried_once_and_only_there_is_scored():
    batch = drawn()
    for row, pairs in enumerate(batch.length):
        tokens, steps = batch.tokens[row], np.flatnonzero(batch.scored[row])
        value = dict(zip(tokens[: 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True))
        assert sorted(tokens[steps]) == sorted(value)
        assert (steps >= 2 * pairs).all()
        assert (steps % 2 == 0).all()
        assert batch.targets[row, steps].tolist() == [value[key] for key in tokens[steps]]
        assert (batch.targets[row, ~batch.scored[row]] == BLANK).all()
        assert len(steps) == pairs == TASK.answer_length(pairs)


def test_a_sequence_has_four_steps_a_pair_but_not_fewer_than_its_input_length():
    """Up to ten pairs 40; eleven and twelve pairs take 44 and 48."""
    batch = drawn()
    live = np.maximum(40, 4 * batch.length)[:, None]
    np.testing.assert_array_equal(batch.mask, np.arange(T) < live)
    assert (batch.tokens[~batch.mask] == BLANK).all()
    assert [TASK.num_steps(n) for n in (1, 10, 11, 12)] == [40, 40, 44, 48]
    zoology = MqarTask(**(SETTINGS | {"vocab_size": 8192, "input_length": 64}))
    assert [zoology.num_steps(n) for n in (4, 8, 16, 32, 64)] == [64, 64, 64, 128, 256]


def test_other_steps_hold_any_token_or_blanks():
    """Of 64 tokens at some 3000 steps, one is missed once in 10^18 batches."""
    batch = drawn(1, 4, 4)
    free = batch.mask & ~batch.scored & (np.arange(T) >= 8)
    assert set(batch.tokens[free].tolist()) == set(range(64))
    task = MqarTask(**(SETTINGS | {"random_filler": False}))
    blanks = jax.device_get(task.sample(jax.random.key(1), 8, (4, 4), FIT))
    assert (blanks.tokens != BLANK).sum(axis=1).tolist() == [4 * 2 + 4] * 8


def test_queries_follow_the_power_law():
    """Otherwise the task is harder or easier than the published one. Of eight pairs in 40
    steps 12 places are free; the first pair takes place i with p_i in proportion to i^-0.99,
    the second with Σ_j≠i p_j p_i / (1 - p_j)."""
    p = np.arange(1, 13) ** -0.99
    p /= p.sum()
    second = p * ((p / (1 - p)).sum() - p / (1 - p))
    counts = np.zeros((2, 12))
    for seed in range(100, 130):
        batch = drawn(seed, 8, 8)
        for pair in range(2):
            key = batch.tokens[:, [2 * pair]]
            step = np.argmax((batch.tokens == key) & batch.scored, axis=1)
            counts[pair] += np.bincount((step - 16) // 2, minlength=12)
    total = 30 * B
    for seen, expected in zip(counts, (p, second), strict=True):
        error = np.sqrt(total * expected * (1 - expected))
        assert (abs(seen - total * expected) < 5 * error).all()


def test_a_solver_scores_everything():
    batch = drawn(2)
    predicted = np.full(batch.tokens.shape, BLANK)
    for row in range(B):
        live = batch.tokens[row, batch.mask[row]].tolist()
        predicted[row, : len(live)] = multi_query_recall(live, FIRST_VALUE)
    means = SCORE(predicted, batch).means()
    assert float(means["accuracy"]) == float(means["exact_match"]) == 1.0


def test_the_worked_example():
    """The docstring's, with V = 10."""
    predicted = multi_query_recall([2, 8, 4, 7, 0, 0, 4, 0, 0, 0, 2, 0], 5)
    assert predicted == [-1] * 6 + [7] + [-1] * 3 + [8, -1]


def test_a_guesser_is_at_chance():
    """One of 32 values."""
    batch = drawn(3)
    sums = SCORE(np.random.default_rng(0).integers(FIRST_VALUE, 64, batch.tokens.shape), batch)
    error = np.sqrt(1 / 32 * 31 / 32 / float(sums.scored))
    assert abs(float(sums.correct / sums.scored) - 1 / 32) < 5 * error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 63}, "vocab_size must be an even number from 4 on, not 63"),
        ({"input_length": 0}, "input_length must be an even number from 4 on, not 0"),
        ({"longest": 32}, "lengths end at 31, longest is 32"),
        ({"shortest": 0}, "lengths need 1 ≤ shortest"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MqarTask(**(SETTINGS | settings))


NOISY = MqarTask(**(SETTINGS | {"noise": 3}))


def test_noise_stands_anywhere_but_inside_a_pair():
    """Three tokens of their own a pair; else a model could tell pairs by their places."""
    fit, values = 4, range(FIRST_VALUE, 64 - NOISE_KINDS)
    batch = jax.device_get(NOISY.sample(jax.random.key(0), B, (2, fit), fit))
    assert batch.tokens.shape == (B, 40)
    first = set()
    for tokens, scored, pairs in zip(batch.tokens, batch.scored, batch.length, strict=True):
        context = tokens[: 5 * pairs]
        noise = context >= 64 - NOISE_KINDS
        places = np.flatnonzero(context < FIRST_VALUE)
        assert noise.sum() == 3 * pairs
        assert len(places) == pairs
        assert all(context[place + 1] in values for place in places)
        value = dict(zip(context[places], context[places + 1], strict=True))
        steps = np.flatnonzero(scored)
        assert (steps >= 5 * pairs).all()
        assert ((steps - 5 * pairs) % 2 == 0).all()
        assert sorted(tokens[steps]) == sorted(value)
        first.add(places[0])
    assert len(first) > 5
    assert [NOISY.num_steps(n) for n in (1, 5, 6, 12)] == [40, 40, 42, 84]
    assert NOISY.limit == 64 // 2 - NOISE_KINDS
