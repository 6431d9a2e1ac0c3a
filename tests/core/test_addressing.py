from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import addressing
from mocanet_jax.core.addressing import Address


@partial(jax.jit, static_argnums=(1, 2))
def ring(position, num_slots, num_active, sharpness):
    position = jnp.asarray(position, float)
    sharpness = jnp.broadcast_to(sharpness, position.shape)
    return addressing.ring_address(position, num_slots, num_active, sharpness)


def test_unit_norm_divides_by_the_euclidean_length():
    """Otherwise a write of strength 1 would not read back what it wrote."""
    np.testing.assert_allclose(
        addressing.unit_norm(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("odds", "shift"),
    [
        ((1, 2, 5), 0.5),  # -1/8 + 5/8
        ((6, 1, 1), -0.625),  # -6/8 + 1/8
        ((2, 3, 3), 0.125),
    ],
)
def test_expected_shift_by_hand(odds, shift):
    """A wrong order of shifts would move pointers wrongly."""
    logits = jnp.log(jnp.array(odds, float))
    np.testing.assert_allclose(addressing.expected_shift(logits), shift, atol=1e-6)


@pytest.mark.parametrize(
    ("start", "shifts", "positions", "last"),
    [
        (6.5, (1, 0.5, -0.25), (7.5, 8.0, 7.75), 7.75),
        (6.5, (1, 1), (7.5, 8.5), 0.5),  # past the end of the ring
        (0.5, (-1, -0.25), (-0.5, -0.75), 7.25),  # past its beginning
    ],
)
def test_advance_by_hand(start, shifts, positions, last):
    """Pointers must add up shifts and carry their place on the ring of 8 slots."""
    shifts = jnp.array(shifts, float)[None, :, None]
    got, carried = addressing.advance(jnp.array([[start]]), shifts, 8)
    np.testing.assert_allclose(got[0, :, 0], positions)
    np.testing.assert_allclose(carried[0, 0], last)


def test_advance_keeps_heads_and_examples_apart():
    """Mixed axes would let one head or example push another's pointer."""
    pointer = jnp.array([[0.0, 1.0], [2.0, 3.0]])
    shifts = jnp.zeros((2, 3, 2)).at[0, 1, 1].set(1.0)
    positions, last = addressing.advance(pointer, shifts, 8)
    np.testing.assert_array_equal(positions[:, -1], [[0, 2], [2, 3]])
    np.testing.assert_array_equal(last, [[0, 2], [2, 3]])


@pytest.mark.usefixtures("float64")
@given(st.integers(1, 9), st.integers(0, 1000))
def test_a_pointer_stays_above_0_as_step_by_step(cut, seed):
    """Against max(0, p + shift), in one run and carried on after any step."""
    rng = np.random.default_rng(seed)
    start, shifts = rng.uniform(0, 2, (2, 3)), rng.normal(-0.2, 1.0, (2, 10, 3))
    expected, pointer = [], start
    for t in range(10):
        pointer = np.maximum(0, pointer + shifts[:, t])
        expected.append(pointer)
    expected = np.stack(expected, axis=1)
    got = addressing.advance_above(start, shifts)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert got.min() >= 0
    rest = addressing.advance_above(got[:, cut - 1], shifts[:, cut:])
    np.testing.assert_allclose(rest, expected[:, cut:], atol=1e-12)


@pytest.mark.parametrize(
    ("position", "length", "slot", "distance", "wrap"),
    [
        (1.0, 3.0, 1.0, 0.0, 3.0),  # the first slot
        (3.25, 3.0, 3.25, 2.25, 3.0),  # a little behind the last
        (3.75, 3.0, 0.75, 2.75, 3.0),  # a little before the first of the next wrap
        (0.75, 3.0, 0.75, -0.25, 3.0),  # of this one
        (4.0, 3.0, 1.0, 3.0, 3.0),  # round
        (9.0, 3.0, 3.0, 8.0, 3.0),  # in the third wrap
        (0.0, 3.0, 0.0, -1.0, 3.0),  # before the loop
        (-2.0, 3.0, -2.0, -3.0, 3.0),
        (0.0, 0.0, 0.0, 0.0, 1.0),  # nothing written: before the first slot
        (2.0, 0.0, 0.0, 2.0, 1.0),
        (5.0, 1.0, 1.0, 4.0, 1.0),  # a loop of one slot
    ],
)
def test_loop_by_hand(position, length, slot, distance, wrap):
    """A wrong start or wrap would read beside what was written, more so in every wrap."""
    assert addressing.loop(jnp.float32(position), jnp.float32(length)) == (slot, distance, wrap)


@pytest.mark.parametrize(
    ("position", "indices", "weights"),
    [
        # exp(-2 ln2 d²) = 2^(-2d²). At 2.25: d² = 1/16 and 9/16, a ratio of 2 to 1.
        (2.25, (2, 3), np.array([2, 1]) / 5**0.5),
        # d² = 25/16, 1/16, 9/16: ratios 1/8, 1, 1/2 and norm² 81/64.
        (2.25, (1, 2, 3), np.array([1, 8, 4]) / 9),
        (7.75, (7, 0), np.array([1, 2]) / 5**0.5),  # over the end of the ring
        (-0.25, (7, 0), np.array([1, 2]) / 5**0.5),  # the same place, one turn earlier
        (0.25, (7, 0, 1), np.array([1, 8, 4]) / 9),
        (5.0, (5,), np.array([1])),
    ],
)
def test_ring_address_by_hand(position, indices, weights):
    """A wrong distance, neighbour or wrap would write beside the pointer."""
    address = ring(position, 8, len(indices), 2 * np.log(2))
    np.testing.assert_array_equal(address.indices, indices)
    np.testing.assert_allclose(address.weights, weights, rtol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_active", [1, 2, 3, 6, 7])
def test_ring_address_takes_the_nearest_slots(num_active):
    """Against a search over all S slots by ring distance, several turns around the ring."""
    num_slots, sharpness = 7, 0.8
    positions = np.random.default_rng(0).uniform(-20, 20, 50)
    address = ring(positions, num_slots, num_active, sharpness)
    for position, indices, weights in zip(positions, *address, strict=True):
        gap = (np.arange(num_slots) - position) % num_slots
        distance = np.minimum(gap, num_slots - gap)
        nearest = np.argsort(distance)[:num_active]
        dense = np.zeros(num_slots)
        dense[nearest] = np.exp(-sharpness * distance[nearest] ** 2)
        got = np.zeros(num_slots)
        got[indices] = weights
        np.testing.assert_allclose(got, dense / np.linalg.norm(dense), atol=1e-9)


def test_ring_address_does_not_depend_on_the_number_of_slots():
    """Otherwise a memory could not be enlarged after training."""
    position = jnp.linspace(1.0, 5.9, 13)
    chex.assert_trees_all_equal(ring(position, 8, 3, 0.7), ring(position, 100, 3, 0.7))


@pytest.mark.usefixtures("float64")
def test_ring_address_gradient_reaches_position_and_sharpness():
    """Against differences: with no gradient, pointers could not be trained."""

    def score(position, sharpness):
        weights = addressing.ring_address(position, 8, 3, sharpness).weights
        return jnp.sum(weights * jnp.array([1.0, -2.0, 3.0])[None])

    at, step = (jnp.array([2.3]), jnp.array([0.7])), 1e-6
    gradient = jax.grad(score, argnums=(0, 1))(*at)
    by_position = (score(at[0] + step, at[1]) - score(at[0] - step, at[1])) / (2 * step)
    by_sharpness = (score(at[0], at[1] + step) - score(at[0], at[1] - step)) / (2 * step)
    np.testing.assert_allclose(gradient[0][0], by_position, rtol=1e-6)
    np.testing.assert_allclose(gradient[1][0], by_sharpness, rtol=1e-6)
    assert min(abs(by_position), abs(by_sharpness)) > 0.1


def test_very_sharp_addresses_stay_finite():
    """Weights that all underflow would turn into 0/0; at 2.5 both neighbours are equal."""
    address = ring(2.5, 8, 2, 1e5)
    np.testing.assert_allclose(address.weights, [0.5**0.5] * 2, rtol=1e-6)
    address = addressing.content_address(jnp.array([1e4, -1e4, 1e4]), 2, temperature=1e-3)
    np.testing.assert_allclose(address.weights, [0.5**0.5] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("temperature", "weights"),
    [
        (1.0, np.array([2, 1]) / 5**0.5),  # exp(3 ln2) : exp(2 ln2) = 2 : 1
        (0.5, np.array([4, 1]) / 17**0.5),  # squared by the temperature
    ],
)
def test_content_address_by_hand(temperature, weights):
    """A wrong choice or temperature would blend slots that should not be read."""
    scores = jnp.log(2.0) * jnp.array([1.0, 3.0, 2.0, 0.0])
    address = addressing.content_address(scores, 2, temperature)
    np.testing.assert_array_equal(address.indices, [1, 2])
    np.testing.assert_allclose(address.weights, weights, rtol=1e-6)


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 1000))
def test_addresses_are_distinct_slots_with_unit_norm(num_active, spare, seed):
    """The delta rule reads back what was written only for a unit vector over distinct slots."""
    rng, num_slots = np.random.default_rng(seed), num_active + spare
    scores = jnp.asarray(rng.normal(size=(4, num_slots)), jnp.float32)
    for address in (
        ring(rng.uniform(-30, 30, size=4), num_slots, num_active, 0.3),
        addressing.content_address(scores, num_active, 0.5),
    ):
        indices = np.sort(address.indices, axis=-1)
        assert (np.diff(indices, axis=-1) > 0).all()
        assert indices.min() >= 0
        assert indices.max() < num_slots
        assert address.weights.min() >= 0
        np.testing.assert_allclose(jnp.linalg.norm(address.weights, axis=-1), 1, rtol=1e-5)


def test_dense_weights_by_hand():
    """A dense address must put each weight on its own slot and nothing elsewhere."""
    address = Address(jnp.array([[2, 0], [1, 3]]), jnp.array([[0.6, 0.8], [1.0, 0.5]]))
    dense = addressing.dense_weights(address, 4)
    np.testing.assert_allclose(dense, [[0.8, 0, 0.6, 0], [0, 1.0, 0, 0.5]])


@pytest.mark.parametrize("num_active", [0, 5])
def test_an_impossible_number_of_active_slots_is_refused(num_active):
    """Zero slots have no direction; more than S would name one slot twice."""
    with pytest.raises(ValueError, match=f"between 1 and 4 active slots, not {num_active}"):
        ring(1.0, 4, num_active, 1.0)
    with pytest.raises(ValueError, match=f"between 1 and 4 active slots, not {num_active}"):
        addressing.content_address(jnp.ones(4), num_active, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: addressing.expected_shift(jnp.ones((2, 4))),
        lambda: addressing.expected_shift(jnp.ones((2, 3), int)),
        lambda: addressing.advance(jnp.ones((2, 1)), jnp.ones((2, 3, 4)), 8),
        lambda: addressing.advance(jnp.ones((2, 1)), jnp.ones((2, 1)), 8),
        lambda: addressing.advance_above(jnp.ones((2, 1)), jnp.ones((2, 1))),
        lambda: addressing.ring_address(jnp.ones(2), 8, 2, jnp.ones(1)),
        lambda: addressing.ring_address(jnp.ones(2, int), 8, 2, jnp.ones(2)),
        lambda: addressing.content_address(jnp.ones(4, int), 2, 1.0),
        lambda: addressing.dense_weights(Address(jnp.zeros((3, 2), int), jnp.ones((3, 1))), 4),
    ],
)
def test_wrong_shapes_and_types_are_refused(call):
    """Broadcasting would otherwise turn a mistake into a wrong address."""
    with pytest.raises(AssertionError):
        call()
