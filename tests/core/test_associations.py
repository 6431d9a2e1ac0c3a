"""Memory by association. Axes: B batch, T time, H heads, S slots, P width."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import associations
from mocanet_jax.core.associations import Associations, no_associations
from mocanet_jax.core.narrow import narrowed, widened

SHAPES = [(7, 3, 3), (8, 4, 1), (5, 64, 9)]
"""T, chunk size, S: chunks that end in padding, of more writes than slots, of all tokens."""


@partial(jax.jit, static_argnames="chunk_size")
def recall(state, *problem, **options):
    """Entries as arguments of their own, then the sink."""
    *entries, sink = problem
    return associations.recall(state, associations.Entries(*entries), sink, **options)


def naive(state, query, key, value, strength, sink):
    """Slot by slot, as a list of slots would do it: what is read, the next state, the slots of
    the writes, and of the reads, with the weights of all slots."""
    state = jax.tree.map(np.array, state)
    reads, slots = np.zeros(value.shape), np.zeros(strength.shape, int)
    shares = np.zeros((*strength.shape, state.keys.shape[2]))
    for b, t, h in np.ndindex(strength.shape):
        if strength[b, t, h] > 0:
            slot = state.count[b, h] % state.keys.shape[2]
            state.keys[b, h, slot], state.values[b, h, slot] = key[b, t, h], value[b, t, h]
            state.strengths[b, h, slot] = strength[b, t, h]
            state.count[b, h] += 1
            slots[b, t, h] = slot
        weights = state.strengths[b, h] * np.exp(state.keys[b, h] @ query[b, t, h])
        shares[b, t, h] = weights / (weights.sum() + np.exp(sink[b, h]))
        reads[b, t, h] = shares[b, t, h] @ state.values[b, h]
    return reads, state, slots, shares


def random_problem(T, seed, writing, B=2, H=2, P=4):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(3, B, T, H, P))
    strength = rng.uniform(0.1, 1, size=(B, T, H)) * (rng.random((B, T, H)) < writing)
    return *vectors, strength, rng.normal(size=(B, H))


@pytest.mark.usefixtures("float64")
@given(st.sampled_from(SHAPES), st.sampled_from([0.0, 0.3, 0.8, 1.0]), st.integers(0, 999))
def test_chunks_are_the_loop_over_slots(shape, writing, seed):
    """After any number of writes: a slot that outlives its overwriting, or that is counted for
    another token, would give away values that were never stored under the key."""
    length, chunk_size, num_slots = shape
    start = no_associations(2, 2, num_slots, 4, 4)
    start = naive(start, *random_problem(seed % 9, seed + 1, 0.8))[1]
    problem = random_problem(length, seed, writing)
    expected, state, slots, shares = naive(start, *problem)
    reads, after, (written, read) = recall(start, *problem, chunk_size=chunk_size)
    np.testing.assert_allclose(reads, expected, atol=1e-12)
    for got, want in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    writes = problem[3] > 0
    np.testing.assert_array_equal(written.indices[..., 0][writes], slots[writes])
    found = shares.max(axis=-1) > 0
    np.testing.assert_array_equal(read.indices[..., 0][found], shares.argmax(axis=-1)[found])
    np.testing.assert_allclose(read.weights[..., 0], shares.max(axis=-1), atol=1e-12)


def by_hand(scores, strengths, values, sink=0.0, num_slots=2, **options):
    """One head of width 1, whose queries are 1, so that keys are scores: what is read."""
    shaped = lambda row: jnp.array(row, float)[None, :, None, None]  # [1, T, 1, 1]
    return recall(
        no_associations(1, 1, num_slots, 1, 1),
        jnp.ones((1, len(values), 1, 1)),
        shaped(scores),
        shaped(values),
        shaped(strengths)[..., 0],
        jnp.full((1, 1), sink),
        **options,
    )


@pytest.mark.parametrize("chunk_size", [1, 4])
def test_reads_by_hand(chunk_size):
    """3 · 8 / (3 + 1); then half of 2 beside it, (3 · 8 + 1 · 3) / (3 + 1 + 1); a token that
    does not write reads the same; then the first slot is taken, (1 · 3 + 2 · 6) / (1 + 2 + 1).
    """
    reads, state, _ = by_hand(
        np.log([3, 2, 7, 2]), [1, 0.5, 0, 1], [8, 3, 50, 6], chunk_size=chunk_size
    )
    np.testing.assert_allclose(reads[0, :, 0, 0], [6, 27 / 5, 27 / 5, 15 / 4], rtol=1e-5)
    np.testing.assert_array_equal(state.values[0, 0, :, 0], [6, 3])
    assert state.count == 3


def test_the_sink_is_read_where_no_key_answers():
    """A read without a matching key must not return the nearest entry."""
    reads, _, (_, read) = by_hand([-9, -8, 20], [1, 1, 1], [5, 5, 7], sink=4.0, num_slots=9)
    np.testing.assert_allclose(reads[0, :, 0, 0], [0, 0, 7], atol=1e-3)
    np.testing.assert_allclose(read.weights[0, :, 0, 0], [0, 0, 1], atol=1e-3)


def test_a_slot_is_overwritten_after_as_many_writes_as_there_are_slots():
    """The first key of score 30 is found until 3 more have written; tokens that do not write
    bring that no nearer."""
    strengths = [1, 0, 0, 0, 0, 1, 1, 0, 1]
    reads, _, (written, _) = by_hand(
        [30] + [0] * 8, strengths, [4] + [0] * 8, sink=10.0, num_slots=3
    )
    np.testing.assert_allclose(reads[0, :, 0, 0], [4] * 8 + [0], atol=1e-3)
    np.testing.assert_array_equal(written.indices[0, [0, 5, 6, 8], 0, 0], [0, 1, 2, 0])


@pytest.mark.parametrize("score", [200.0, 1e5])
def test_a_key_that_did_not_write_does_not_hide_the_others(score):
    """However well it answers: a token whose gate is closed is its own query's best key, and
    would leave 0 / 0."""

    def read(strengths):
        return jnp.sum(by_hand([5.0, score], strengths, [3.0, 9.0], num_slots=4)[0][0, 1])

    strengths = jnp.array([1.0, 0.0])
    share = np.exp(5) / (np.exp(5) + 1)
    np.testing.assert_allclose(read(strengths), 3 * share, rtol=1e-5)
    assert jnp.isfinite(jax.grad(read)(strengths)).all()


@pytest.mark.parametrize("steps", [2, 250])
def test_an_excluded_write_receives_the_gradient_of_a_later_read(steps):
    """Or a gate that closed too early stays closed: multi-query recall lost a quarter of
    its answers where this went back 64 tokens. By hand: of the only key, with a score of
    ln ½, a share of ½β / (½β + 1) is read, of slope ½ where nothing was written."""
    scores, values = np.full(steps, np.log(0.5)), np.zeros(steps)
    values[0] = 5.0

    def last_read(strength):
        strengths = jnp.zeros(steps).at[0].set(strength)
        return by_hand(scores, strengths, values)[0][0, -1, 0, 0]

    np.testing.assert_allclose(jax.jit(jax.grad(last_read))(0.0), 0.5 * 5, rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_the_gradient_is_that_of_differences():
    """Of the loop over slots, in a random direction of all that is not a state."""
    problem, rng = random_problem(7, 3, 0.6), np.random.default_rng(1)
    start = no_associations(2, 2, 3, 4, 4)
    start = naive(start, *random_problem(4, 5, 0.8))[1]
    weights = rng.normal(size=problem[2].shape)

    def loss(*problem):
        return jnp.vdot(recall(start, *problem, chunk_size=3)[0], weights)

    change = [1e-6 * rng.normal(size=x.shape) for x in problem]
    change[3] *= problem[3] > 0  # what does not write takes no slot: a step, not a slope
    found = jax.jit(jax.grad(loss, argnums=range(5)))(*map(jnp.asarray, problem))
    moved = lambda sign: naive(
        start, *(x + sign * d for x, d in zip(problem, change, strict=True))
    )[0]
    expected = np.vdot(moved(1) - moved(-1), weights) / 2
    got = sum(np.vdot(g, d) for g, d in zip(found, change, strict=True))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_wrong_shapes_are_refused():
    """Broadcasting would otherwise turn a mistake into a wrong read."""
    problem = random_problem(3, 0, 1.0)
    call = partial(recall, Associations(*no_associations(2, 2, 3, 4, 4)))
    with pytest.raises(AssertionError):
        call(*problem[:3], problem[3][..., :1], problem[4])
    with pytest.raises(AssertionError):
        call(problem[0][:, :2], *problem[1:])


def rounded(rows, bits):
    return np.asarray(widened(narrowed(jnp.float32(rows), bits), rows.shape[-1]))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_narrow_slots_are_a_loop_over_rounded_rows(bits, shape):
    """However a sequence is cut: keys and values are rounded once, when they are written, and
    every token finds them so, its own chunk too. To 1e-5, of sums in another order."""
    length, chunk_size, num_slots = shape
    query, key, value, strength, sink = map(np.float32, random_problem(length, 3, 0.8))
    strength[0, 0] = 1e-12  # which is 0 in 16 bits, and would take no slot
    held = np.where(strength > 0, np.maximum(strength, 2.0**-14), 0)
    held = np.float32(np.float16(held))
    problem = (query, rounded(key, bits), rounded(value, bits), held, sink)
    expected, plain, *_ = naive(no_associations(2, 2, num_slots, 4, 4), *problem)
    start = no_associations(2, 2, num_slots, 4, 4, bits)
    reads, state, _ = recall(start, query, key, value, strength, sink, chunk_size=chunk_size)
    np.testing.assert_allclose(reads, expected, atol=1e-5)
    for narrow, rows in zip(state[:2], plain[:2], strict=True):
        np.testing.assert_allclose(widened(narrow, 4), rows, atol=1e-6)
    np.testing.assert_array_equal(state.strengths, plain.strengths)
    np.testing.assert_array_equal(state.count, plain.count)
    after, parts = start, []
    for t in range(length):
        token = [x[:, t : t + 1] for x in (query, key, value, strength)]
        read, after, _ = recall(after, *token, sink)
        parts.append(read)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), reads, atol=1e-5)
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
