import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core.addressing import expected_shift
from mocanet_jax.core.straight_through import hard_choice, hard_round, quantisation_penalty


@pytest.mark.parametrize(
    ("number", "hardness", "expected"),
    [
        (0.625, 0, 0.625),
        (0.625, 1, 1),
        (-0.625, 1, -1),
        (0.125, 1, 0),
        (0.625, 0.5, 0.8125),  # halfway from 0.625 to 1
    ],
)
def test_hard_round_by_hand(number, hardness, expected):
    """Otherwise pointers would not move by whole slots in evaluation."""
    np.testing.assert_allclose(hard_round(jnp.float32(number), hardness), expected, atol=1e-7)


def test_hard_shifts_are_whole():
    """A shift that is off by one hardness error would drift over a long sequence."""
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1000, 3)), jnp.float32)
    shift = hard_round(expected_shift(3 * logits), 1.0)
    assert set(np.unique(shift)) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("hardness", [0.0, 0.5, 1.0])
def test_hardness_passes_the_gradient_of_the_mean(hardness):
    """Without it, pointers that move by whole slots could not be trained."""
    logits = jnp.array([0.3, -0.2, 0.9])
    gradient = jax.grad(lambda x: hard_round(expected_shift(x), hardness))(logits)
    # d mean / d logit_i = p_i (shift_i - mean)
    p = np.exp(logits) / np.exp(logits).sum()
    expected = p * (np.array([-1, 0, 1]) - (p[2] - p[0]))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("number", "expected", "slope"),
    [(0.0, 0, None), (0.25, 0.5, 2), (0.75, 0.5, -2), (-0.25, 0.5, -2), (-0.9, 0.2, 2)],
)
def test_quantisation_penalty_by_hand(number, expected, slope):
    """A descent along a slope of the wrong sign would lead to the threshold, not away."""
    value, gradient = jax.value_and_grad(quantisation_penalty)(jnp.float32(number))
    np.testing.assert_allclose(value, expected, atol=1e-6)
    if slope is not None:
        assert gradient == slope


@given(st.floats(-3, 3, width=32))
def test_quantisation_penalty_is_none_once_rounded(number):
    """Otherwise whole numbers would be pushed about."""
    number = jnp.float32(number)
    assert 0 <= quantisation_penalty(number) <= 1
    assert quantisation_penalty(hard_round(number, 1.0)) == 0


@pytest.mark.parametrize(
    "function",
    [lambda x: hard_round(x, 1.0), lambda x: hard_choice(x, 1.0), quantisation_penalty],
)
def test_integers_are_refused(function):
    """They have no gradient."""
    with pytest.raises(AssertionError):
        function(jnp.ones(3, int))


@pytest.mark.parametrize(
    ("hardness", "expected"),
    [(0.0, (0.125, 0.5, 0.375)), (0.5, (0.0625, 0.75, 0.1875)), (1.0, (0, 1, 0))],
)
def test_hard_choice_by_hand(hardness, expected):
    """Softmax of ln(1, 4, 3), and the way from there to the likeliest."""
    logits = jnp.log(jnp.array([1.0, 4.0, 3.0]))
    np.testing.assert_allclose(hard_choice(logits, hardness), expected, rtol=1e-6)


def test_a_hard_choice_is_one_choice():
    """To the last bit: what it turns would drift over a long sequence."""
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1000, 5)), jnp.float32)
    choice = hard_choice(logits, 1.0)
    np.testing.assert_array_equal(choice, np.eye(5)[np.argmax(logits, axis=-1)])


def test_hardness_passes_the_gradient_of_the_softmax():
    logits, values = jnp.array([0.3, -0.2, 0.9]), jnp.array([2.0, -1.0, 5.0])
    gradient = jax.grad(lambda x, r: jnp.vdot(hard_choice(x, r), values))
    p = np.exp(logits) / np.exp(logits).sum()
    for hardness in (0.0, 0.5, 1.0):
        expected = p * (values - p @ values)
        np.testing.assert_allclose(gradient(logits, hardness), expected, rtol=1e-5)
