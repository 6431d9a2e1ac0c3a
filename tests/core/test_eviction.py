"""What stays where more is written than there are slots. Axes: B batch, T time, H heads, S
slots, P width."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import associations
from mocanet_jax.core.associations import Entries, no_associations

B, H, P = 2, 2, 3


@partial(jax.jit, static_argnames=("chunk_size", "merge_above"))
def recall(state, entries, sink, **options):
    return associations.recall(state, entries, sink, **options)


recall_events = jax.jit(
    associations.recall_events, static_argnames=("chunk_size", "merge_above")
)


def random_entries(T, seed, writing):
    """Few different importances, so that many are equal."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(3, B, T, H, P))
    strength = rng.uniform(0.1, 1, size=(B, T, H)) * (rng.random((B, T, H)) < writing)
    importance = rng.integers(-2, 3, size=(B, T, H)).astype(float)
    return Entries(*vectors, strength, importance), rng.normal(size=(B, H))


def naive(entries, sink, num_slots, merge_above=np.inf):
    """As a list of what is held would do it: what is read, and for every memory the list of
    (importance, number, value)."""
    reads, kept = np.zeros(entries.value.shape), {}
    for b in range(B):
        for h in range(H):
            held, number = [], 0
            for t in range(entries.value.shape[1]):
                if entries.strength[b, t, h] > 0:
                    number += 1
                    near = [entries.key[b, t, h] @ entries.key[b, e[2], h] for e in held]
                    if near and max(near) > merge_above:
                        del held[int(np.argmax(near))]
                    held.append((entries.importance[b, t, h], number, t))
                    held = sorted(held)[-num_slots:]
                at = [t for _, _, t in held]
                weights = entries.strength[b, at, h] * np.exp(
                    entries.key[b, at, h] @ entries.query[b, t, h]
                )
                total = weights.sum() + np.exp(sink[b, h])
                reads[b, t, h] = weights @ entries.value[b, at, h] / total
            kept[b, h] = [(i, n, tuple(entries.value[b, t, h])) for i, n, t in held]
    return reads, kept


def held_in(state):
    """Of every memory, sorted, as `naive` has it."""
    kept = {}
    for b in range(B):
        for h in range(H):
            importance, numbers = (np.asarray(x[b, h]) for x in state.held)
            values = np.asarray(state.values[b, h])
            kept[b, h] = sorted(
                (importance[s], numbers[s], tuple(values[s])) for s in np.flatnonzero(numbers)
            )
    return kept


@pytest.mark.usefixtures("float64")
@given(
    st.sampled_from([(7, 3, 3), (9, 4, 1), (5, 64, 9), (12, 1, 4)]),
    st.sampled_from([0.3, 0.8, 1.0]),
    st.integers(0, 999),
)
def test_the_most_important_stay_however_a_sequence_is_cut(shape, writing, seed):
    """T, chunk size, S. Of equal importance the newest; a slot that outlives what took its
    place, or an entry that comes back, would be read though it has gone."""
    entries, sink = random_entries(shape[0], seed, writing)
    check_against_the_list(entries, sink, shape, seed)


@pytest.mark.usefixtures("float64")
@given(
    st.sampled_from([(7, 3, 3), (9, 4, 2), (12, 1, 4)]),
    st.sampled_from([0.6, 1.0]),
    st.integers(0, 999),
)
def test_nearly_equal_keys_share_a_slot_however_a_sequence_is_cut(shape, writing, seed):
    """Keys of a few directions, drawn in by noise, of which the same are above 0.9: what is new
    takes the place of the nearest, also of a more important one."""
    entries, sink = random_entries(shape[0], seed, writing)
    rng = np.random.default_rng(seed)
    rows = np.eye(P)[rng.integers(0, P, size=(B, shape[0], H))]
    keys = rows + 0.02 * rng.normal(size=rows.shape)
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True) * 1.0001
    check_against_the_list(entries._replace(key=keys), sink, shape, seed, merge_above=0.9)


def check_against_the_list(entries, sink, shape, seed, **merge):
    _, chunk_size, num_slots = shape
    reads, kept = naive(entries, sink, num_slots, **merge)
    start = no_associations(B, H, num_slots, P, P, by_importance=True)
    options = {"chunk_size": chunk_size} | merge
    found, state, (write, _) = recall(start, entries, sink, **options)
    np.testing.assert_allclose(found, reads, atol=1e-12)
    got = held_in(state)
    for memory, expected in kept.items():
        np.testing.assert_array_equal(
            np.array([i[:2] for i in got[memory]]), np.array([i[:2] for i in expected])
        )
        assert [i[2] for i in got[memory]] == [i[2] for i in expected]
    may_read = np.random.default_rng(seed).random(entries.strength.shape) < 0.5
    few, after, _ = recall_events(start, entries, sink, may_read, **options)
    np.testing.assert_allclose(few, np.where(may_read[..., None], reads, 0), atol=1e-12)
    assert held_in(after) == got
    assert set(np.unique(write.weights)) <= {0.0, 1.0}


def test_equal_importance_is_a_ring():
    """So that a memory that has not learned yet is the one that keeps the last."""
    entries, sink = random_entries(20, 0, 0.7)
    entries = jax.tree.map(jnp.float32, entries._replace(importance=np.zeros((B, 20, H))))
    sink = jnp.float32(sink)
    found, state, slots = recall(
        no_associations(B, H, 4, P, P, by_importance=True), entries, sink
    )
    ring, last, expected = recall(
        no_associations(B, H, 4, P, P), entries._replace(importance=None), sink
    )
    np.testing.assert_allclose(found, ring, atol=1e-6)
    np.testing.assert_array_equal(state.values, last.values)
    writes = entries.strength > 0
    np.testing.assert_array_equal(
        slots[0].indices[..., 0][writes], expected[0].indices[..., 0][writes]
    )


def by_hand(importance, scores, values, num_slots, strengths=None):
    """One head of width 1 and queries of 1, so that keys are scores, and a sink of 0."""
    shaped = lambda row: jnp.asarray(row, float)[None, :, None, None]
    strengths = jnp.ones(len(values)) if strengths is None else strengths
    entries = Entries(
        jnp.ones((1, len(values), 1, 1)),
        shaped(scores),
        shaped(values),
        shaped(strengths)[..., 0],
        shaped(importance)[..., 0],
    )
    start = no_associations(1, 1, num_slots, 1, 1, by_importance=True)
    return associations.recall(start, entries, jnp.zeros((1, 1)))


def test_what_stays_by_hand():
    """Two slots and scores of 0, so that a read is the sum of what is there over one more than
    its number: 6/2, (6 + 9)/3; 1 is less important than both and not kept; 8 takes the place of
    the 6, and 4, as important as the 9, that of the older one, the 9."""
    reads, state, (write, _) = by_hand([1, 2, 0, 3, 2], [0] * 5, [6, 9, 1, 8, 4], 2)
    np.testing.assert_allclose(reads.ravel(), [3, 5, 5, 17 / 3, 4], rtol=1e-6)
    np.testing.assert_array_equal(write.weights.ravel(), [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(np.delete(write.indices.ravel(), 2), [0, 1, 0, 1])
    np.testing.assert_array_equal(state.values.ravel(), [8, 4])
    assert state.count == 5


def test_the_gradient_of_importance_by_hand():
    """One slot and two writes, of importances 1 and 0, weights 1 and e^−½: the second is not
    kept, and θ is 1. The read is 5/2 at both tokens. At the second,

        ∂read/∂w₁ = (5 − 5/2) / 2,  ∂read/∂w₂ = (9 − 5/2) / 2,  times w σ'(importance − θ),

    at the first that of w₁ alone; less the mean of both."""

    def read(importance, strengths, token):
        return by_hand(importance, [0.0, -0.5], [5.0, 9.0], 1, strengths)[0][0, token, 0, 0]

    slope = lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2
    first = 1.25 * slope(0)
    second = np.array([first, 3.25 * np.exp(-0.5) * slope(-1)])
    ones = jnp.ones(2)
    for token, expected in enumerate((np.array([first, 0.0]), second)):
        assert read(jnp.array([1.0, 0.0]), ones, token) == 2.5
        got = jax.grad(read)(jnp.array([1.0, 0.0]), ones, token)
        np.testing.assert_allclose(got, expected - expected.mean(), rtol=1e-5)
    # And its strength hears what it would have contributed, as far as the gate is open.
    got = jax.grad(read, argnums=1)(jnp.array([1.0, 0.0]), ones, 1)
    expected = [1.25, 3.25 * np.exp(-0.5) / (1 + np.e)]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_pair_that_is_written_again_takes_no_second_slot():
    """Three slots, keys a, b, a, c, b with values 1 to 5: the newest of a and b and that of c,
    where without merging the second a is the oldest that is left."""
    keys = np.eye(3)[[0, 1, 0, 2, 1]][None, :, None]
    entries = Entries(
        9 * keys, 0.999 * keys, jnp.arange(1.0, 6).reshape(1, 5, 1, 1), *jnp.ones((2, 1, 5, 1))
    )
    start = no_associations(1, 1, 3, 3, 1, by_importance=True)
    for merge_above, expected in ((0.9, [3, 5, 4]), (1.0, [4, 5, 3])):
        _, state, _ = recall(start, entries, jnp.zeros((1, 1)), merge_above=merge_above)
        np.testing.assert_array_equal(state.values.ravel(), expected)


def test_while_a_slot_is_empty_importance_has_no_gradient():
    """Nothing competes for a place."""
    loss = lambda importance: jnp.sum(by_hand(importance, [0, 1, 2], [5, 9, 2], 4)[0])
    np.testing.assert_array_equal(jax.grad(loss)(jnp.array([1.0, 0.0, 2.0])), 0)
    later = lambda importance: jnp.sum(by_hand(importance, [0, 1, 2], [5, 9, 2], 2)[0][:, :1])
    np.testing.assert_array_equal(jax.grad(later)(jnp.array([1.0, 0.0, 2.0])), 0)
