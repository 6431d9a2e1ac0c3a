"""Memory in order. Axes: B batch, T time, H heads, S slots, P width, N things to sort."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import associations
from mocanet_jax.core.associations import no_associations
from mocanet_jax.core.order import before, by_place

SHAPES = [(7, 3, 3), (8, 4, 1), (5, 64, 9)]
"""T, chunk size, S: chunks that end in padding, of more writes than slots, of all tokens."""


@partial(jax.jit, static_argnames="chunk_size")
def recall(state, *problem, **options):
    """Entries as arguments of their own, then the sink."""
    *entries, sink = problem
    entries = associations.Entries(*entries)
    return associations.recall(state, entries, sink, score=by_place, **options)


def naive(query, ranks, value, writes, sink, num_slots):
    """A list of what was written last, sorted again for every read."""
    reads = np.zeros(value.shape)
    for b, h in np.ndindex(sink.shape):
        held = []
        for t in range(len(ranks[b])):
            if writes[b, t, h]:
                held = [*held, (ranks[b, t, h, 0], value[b, t, h])][-num_slots:]
            place, sharpness = query[b, t, h]
            ordered = sorted(held, key=lambda item: -item[0])  # equals stay as they came
            scores = [-sharpness * (1 + i - place) ** 2 for i in range(len(ordered))]
            weights = np.exp([*scores, sink[b, h]])
            for weight, (_, row) in zip(weights, ordered, strict=False):
                reads[b, t, h] += weight / weights.sum() * row
    return reads


def random_problem(T, seed, writing, B=2, H=2, P=3):
    """Some ranks are equal."""
    rng = np.random.default_rng(seed)
    query = np.stack(
        [rng.uniform(-1, 5, size=(B, T, H)), rng.uniform(0.3, 4, size=(B, T, H))], axis=-1
    )
    ranks = rng.integers(0, 4, size=(B, T, H, 1)).astype(float)
    value, writes = rng.normal(size=(B, T, H, P)), rng.random((B, T, H)) < writing
    return query, ranks, value, writes.astype(float), rng.normal(size=(B, H))


@pytest.mark.usefixtures("float64")
@given(st.sampled_from(SHAPES), st.sampled_from([0.0, 0.4, 1.0]), st.integers(0, 999))
def test_reads_are_those_of_a_sorted_list(shape, writing, seed):
    """Whatever the chunks: of equal ranks the one that was written first comes first, and what
    was overwritten counts no more."""
    length, chunk_size, num_slots = shape
    problem = random_problem(length, seed, writing)
    start = no_associations(2, 2, num_slots, 1, 3)
    reads, _, _ = recall(start, *problem, chunk_size=chunk_size)
    np.testing.assert_allclose(reads, naive(*problem, num_slots), atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 8])
def test_five_numbers_are_sorted_by_hand(chunk_size):
    """3 1 2 3, then reads of the places 1 to 4 and of an empty one; the second 3, of value 40,
    follows the first, of value 10."""
    shaped = lambda row: jnp.array(row, jnp.float32)[None, :, None, None]
    place = shaped([0, 0, 0, 0, 1, 2, 3, 4, 5])
    reads, _, (_, slots) = recall(
        no_associations(1, 1, 9, 1, 1),
        jnp.concatenate([place, jnp.full_like(place, 50.0)], axis=-1),
        shaped([3, 1, 2, 3, 9, 9, 9, 9, 9]),
        shaped([10, 20, 30, 40, 99, 99, 99, 99, 99]),
        shaped([1, 1, 1, 1, 0, 0, 0, 0, 0])[..., 0],
        jnp.full((1, 1), -9.0),
        chunk_size=chunk_size,
    )
    np.testing.assert_allclose(reads[0, 4:, 0, 0], [10, 40, 30, 20, 0], atol=0.1)
    np.testing.assert_array_equal(slots.indices[0, 4:8, 0, 0], [0, 3, 2, 1])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=6))
def test_every_place_is_taken_once(ranks):
    """The order is strict and total, whatever is equal, so that a reader who steps on skips
    nothing and reads nothing twice."""
    ranks = jnp.array(ranks, jnp.float32)
    places = 1 + before(ranks, jnp.arange(len(ranks))).sum(axis=0)
    assert sorted(places.tolist()) == list(range(1, len(ranks) + 1))


def test_what_should_have_been_read_moves_towards_the_place():
    """Of two values of ranks 1 and 0 the second is wanted at place 1: it has to rise and the
    other to fall, both with the slope of σ at their distance."""
    ranks, numbers = jnp.array([1.0, 0.0]), jnp.arange(2)
    place = lambda ranks: 1 + before(ranks, numbers).sum(axis=0)
    np.testing.assert_array_equal(place(ranks), [1, 2])
    slope = float(jax.nn.sigmoid(1.0) * jax.nn.sigmoid(-1.0))
    np.testing.assert_allclose(
        jax.jacobian(place)(ranks), [[-slope, slope], [slope, -slope]], rtol=1e-5
    )
