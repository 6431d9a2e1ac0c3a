"""Induction heads: what a batch holds, and that its score distinguishes looking up from
guessing. Axes: B batch, T time.
"""

from functools import lru_cache

import jax
import numpy as np

from mocanet_jax.tasks.synthetic.induction_heads import (
    BLANK,
    FIRST,
    NUM_SYMBOLS,
    TRIGGER,
    InductionHeadsTask,
)
from mocanet_jax.tasks.synthetic.sequence import score

TASK = InductionHeadsTask(shortest=1, longest=12, first_longest=4)
FIT, B = 12, 512
SAMPLE = jax.jit(TASK.sample, static_argnums=(1, 3))
SCORE = jax.jit(lambda predicted, batch: score(50.0 * jax.nn.one_hot(predicted, 16), batch))


@lru_cache
def drawn(seed=0, shortest=1, longest=FIT):
    """A batch as numpy arrays."""
    return jax.device_get(SAMPLE(jax.random.key(seed), B, (shortest, longest), FIT))


def test_a_sequence_has_the_trigger_once_and_at_its_end():
    batch = drawn()
    assert batch.tokens.shape == batch.targets.shape == (B, FIT)
    assert batch.tokens.dtype == batch.targets.dtype == batch.length.dtype == np.int32
    assert set(batch.length.tolist()) == set(range(1, FIT + 1))
    for row, length in enumerate(batch.length):
        tokens, mask, scored = batch.tokens[row], batch.mask[row], batch.scored[row]
        steps = max(length, 3)
        np.testing.assert_array_equal(mask, np.arange(FIT) < steps)
        np.testing.assert_array_equal(np.flatnonzero(scored), [steps - 1])
        first, last = np.flatnonzero(tokens == TRIGGER)
        assert first < last - 1 == steps - 2
        assert (tokens[steps:] == BLANK).all()
        others = np.delete(tokens[:steps], [first, last])
        assert ((others >= FIRST) & (others < FIRST + NUM_SYMBOLS)).all()
    assert TASK.vocab_size == FIRST + NUM_SYMBOLS
    assert [TASK.num_steps(n) for n in (1, 3, 256)] == [3, 3, 256]


def test_the_first_trigger_stands_anywhere():
    """Otherwise the answer is at a place that is known. Of 512 sequences of six, a fourth
    each."""
    batch = drawn(1, 6, 6)
    places = np.argmax(batch.tokens == TRIGGER, axis=1)
    counts = np.bincount(places, minlength=4)
    assert len(counts) == 4
    assert abs(counts - 128).max() < 5 * np.sqrt(128 * 0.75)


def test_an_exact_solver_scores_everything():
    """It keeps what followed the trigger."""
    batch = drawn(2)
    predicted = np.zeros(batch.tokens.shape, int)
    for row, tokens in enumerate(batch.tokens.tolist()):
        kept = tokens[tokens.index(TRIGGER) + 1]
        predicted[row] = kept
    means = SCORE(predicted, batch).means()
    assert float(means["accuracy"]) == float(means["exact_match"]) == 1.0


def test_a_guesser_is_at_chance():
    """One of 14 symbols; 512 guesses, 36.6 ± 5.8 right."""
    batch = drawn(3)
    guesses = np.random.default_rng(0).integers(FIRST, FIRST + NUM_SYMBOLS, (B, FIT))
    sums = SCORE(guesses, batch)
    assert float(sums.scored) == B
    assert abs(float(sums.correct) - B / NUM_SYMBOLS) < 5 * 5.8
