"""The delayed copy task: what a sampled batch holds, and that its score distinguishes
knowing the payload from guessing it.

Axes: B batch, T time.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.tasks.synthetic.copy import BLANK, MARKER, NUM_SYMBOLS, VOCAB_SIZE, CopyTask
from mocanet_jax.tasks.synthetic.sequence import score

TASK = CopyTask(shortest=1, longest=9, first_longest=2)
FIT, B = 9, 64
SAMPLE = jax.jit(TASK.sample, static_argnums=(1, 3))


@lru_cache
def drawn(seed=0, shortest=1, longest=FIT):
    """A batch as numpy arrays."""
    return jax.device_get(SAMPLE(jax.random.key(seed), B, (shortest, longest), FIT))


def parts(batch, row):
    """(payload, delay, answer, padding) of one sequence, read by its length and its marker."""
    tokens, length = batch.tokens[row], int(batch.length[row])
    (marker,) = np.flatnonzero(tokens == MARKER)
    answer = slice(marker + 1, marker + 1 + length)
    return tokens[:length], marker - length, answer, slice(marker + 1 + length, None)


def test_a_sequence_is_payload_delay_one_marker_and_blanks():
    """Otherwise the task is not the one that its results are reported for."""
    batch = drawn()
    delays = set()
    for row in range(B):
        payload, delay, answer, padding = parts(batch, row)
        tokens, length = batch.tokens[row], len(payload)
        delays.add(int(delay))
        assert ((payload >= 1) & (payload <= NUM_SYMBOLS)).all()
        assert (tokens[length : length + delay] == BLANK).all()
        assert (tokens[answer] == BLANK).all(), "the payload is visible while it is scored"
        assert len(tokens[answer]) == length
        assert (tokens[padding] == BLANK).all()
    assert delays == {3, 4, 5, 6, 7, 8}


def test_targets_are_the_payload_on_the_scored_steps_and_blank_elsewhere():
    """Otherwise a model is trained on another sequence, or at the wrong steps."""
    batch = drawn()
    for row in range(B):
        payload, _, answer, _ = parts(batch, row)
        scored = np.zeros(batch.scored.shape[1], bool)
        scored[answer] = True
        np.testing.assert_array_equal(batch.scored[row], scored)
        np.testing.assert_array_equal(batch.targets[row, answer], payload)
        assert (batch.targets[row, ~scored] == BLANK).all()
        assert scored.sum() == TASK.answer_length(len(payload))


def test_the_mask_ends_with_the_last_scored_step():
    """Otherwise padding changes states and counts as computed, or scored steps do not."""
    batch = drawn()
    for row in range(B):
        _, _, answer, _ = parts(batch, row)
        expected = np.arange(batch.mask.shape[1]) < answer.stop
        np.testing.assert_array_equal(batch.mask[row], expected)


def test_shapes_and_types():
    """A payload of 9, the longest delay 8, one marker and 9 answers take 27 - 1 + 1 steps."""
    batch = drawn()
    assert TASK.num_steps(FIT) == 9 + 8 + 1 + 9
    assert batch.tokens.shape == batch.targets.shape == (B, 27)
    assert batch.tokens.dtype == batch.targets.dtype == batch.length.dtype == np.int32
    assert batch.scored.dtype == batch.mask.dtype == bool
    assert MARKER not in range(1, NUM_SYMBOLS + 1)
    assert max(MARKER, NUM_SYMBOLS) < VOCAB_SIZE


@given(st.integers(1, FIT), st.integers(1, FIT), st.integers(0, 2**31))
def test_lengths_fill_their_inclusive_range(one, other, seed):
    """Otherwise training or evaluation leaves out a length, or draws one out of range."""
    low, high = sorted((one, other))
    lengths = drawn(seed, low, high).length
    assert lengths.min() >= low
    assert lengths.max() <= high
    if high - low <= 2:  # 64 draws miss one of three lengths once in 10^11 batches
        assert set(lengths.tolist()) == set(range(low, high + 1))


def test_a_length_of_one_is_its_marker_and_one_answer():
    """The shortest sequence is an edge of every index computed here."""
    batch = drawn(5, 1, 1)
    assert (batch.scored.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(batch.targets.max(axis=1), batch.tokens[:, 0])


def test_a_batch_is_a_pure_function_of_its_key():
    """Otherwise a resumed run sees other data, or every step sees the same."""
    again = jax.device_get(SAMPLE(jax.random.key(0), B, (1, FIT), FIT))
    jax.tree.map(np.testing.assert_array_equal, drawn(), again)
    assert (drawn(0).tokens != drawn(1).tokens).any()


def test_symbols_are_uniform():
    """Otherwise guessing the most frequent symbol beats chance. 9 · 64 · 40 draws give each of
    125 symbols 184 ± 14 times."""
    payloads = np.concatenate(
        [drawn(seed, FIT, FIT).tokens[:, :FIT].ravel() for seed in range(100, 140)]
    )
    counts = np.bincount(payloads, minlength=NUM_SYMBOLS + 1)[1:]
    assert counts.sum() == len(payloads)
    assert abs(counts - 184).max() < 5 * 14


def solver(tokens):
    """Logits [B, T, V] of the algorithm itself: wait for the marker, then recite."""
    predictions = np.zeros_like(tokens)
    for row, sequence in enumerate(tokens):
        payload, recited = [], None
        for step, token in enumerate(sequence):
            if recited is not None and recited < len(payload):
                predictions[row, step] = payload[recited]
                recited += 1
            elif token == MARKER:
                recited = 0
            elif token != BLANK:
                payload.append(token)
    return np.where(np.arange(VOCAB_SIZE) == predictions[..., None], 50.0, 0.0)


def test_an_exact_solver_scores_everything():
    """Otherwise no model can reach 100 %, or the score is not that of the task."""
    batch = drawn(7)
    means = score(jnp.asarray(solver(batch.tokens)), batch).means()
    assert float(means["accuracy"]) == 1.0
    assert float(means["exact_match"]) == 1.0
    assert float(means["task_loss"]) < 1e-6


def test_a_guesser_is_at_chance():
    """Otherwise accuracy is earned without memory. One of 128 tokens, 64 · 9 · 20 guesses:
    0.78 % ± 0.08 %."""
    rng, right, scored = np.random.default_rng(0), 0.0, 0.0
    for seed in range(20):
        batch = drawn(seed, FIT, FIT)
        sums = score(jnp.asarray(rng.normal(size=(*batch.tokens.shape, VOCAB_SIZE))), batch)
        right, scored = right + float(sums.correct), scored + float(sums.scored)
        assert float(sums.exact) == 0
    assert scored == B * FIT * 20
    assert abs(right / scored - 1 / VOCAB_SIZE) < 5 * 0.0008


@pytest.mark.parametrize("lengths", [(0, 5, 2), (6, 5, 2), (1, 5, 0), (1, 5, 6)])
def test_impossible_lengths_are_refused(lengths):
    """Otherwise sampling clips them silently to something else."""
    with pytest.raises(ValueError, match="lengths need 1 ≤ shortest"):
        CopyTask(*lengths)


def test_a_sequence_of_ones_own_payload_is_like_a_drawn_one():
    """Otherwise a typed sequence is of another task than the one that was trained on."""
    batch = drawn()
    for row in range(4):
        payload, delay, _, _ = parts(batch, row)
        padded = np.ones((1, FIT), np.int32)
        padded[0, : len(payload)] = payload
        one = lambda number: np.full((1, 1), number, np.int32)
        own = TASK.sequences(padded, one(len(payload)), one(delay))
        for found, expected in zip(own, batch, strict=True):
            np.testing.assert_array_equal(found[0], expected[row])
