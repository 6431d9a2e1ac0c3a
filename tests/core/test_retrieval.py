"""Neighbours as a second prediction, by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.retrieval import (
    log_mixed,
    mixed_logits,
    neighbour_probability,
    neighbour_weights,
)

DISTANCES = np.array([0.0, 2 * math.log(2), 2 * math.log(4)], np.float32)
TOKENS = np.array([1, 0, 1], np.int32)
"""At T = 2 the neighbours weigh 1, 1/2 and 1/4, and p_kNN is 2/7, 5/7, 0."""

LOGITS = jnp.log(jnp.array([0.5, 0.25, 0.25])) + 3.0


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_neighbours_weigh_less_with_their_distance(array):
    weights = neighbour_weights(array(DISTANCES), 2.0)
    np.testing.assert_allclose(weights, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)


def test_both_predictions_are_mixed_by_hand():
    """0.7 · 0.5 + 0.3 · 2/7, 0.7 · 0.25 + 0.3 · 5/7, 0.7 · 0.25; and logits keep their scale,
    so that temperatures of sampling mean what they did."""
    mixed = mixed_logits(LOGITS, jnp.array(DISTANCES), jnp.array(TOKENS), 0.3, 2.0)
    expected = np.array([0.35 + 0.6 / 7, 0.175 + 1.5 / 7, 0.175])
    np.testing.assert_allclose(jnp.exp(mixed - 3.0), expected, rtol=1e-5)


def test_one_token_has_the_probability_that_it_has_among_all():
    """Evaluation computes that of the token that came, generation those of all."""
    log_p = np.log(np.array([0.5, 0.25, 0.25]))
    mixed = mixed_logits(LOGITS, jnp.array(DISTANCES), jnp.array(TOKENS), 0.3, 2.0)
    for token in (0, 1):
        match = (token == TOKENS)[None]
        found = neighbour_probability(DISTANCES[None], match, 2.0)
        one = log_mixed(log_p[token : token + 1], found, 0.3)
        assert one[0] == pytest.approx(float(mixed[token]) - 3.0, rel=1e-5)


def test_a_weight_of_0_changes_no_bit():
    mixed = mixed_logits(LOGITS, jnp.array(DISTANCES), jnp.array(TOKENS), 0.0, 2.0)
    assert np.array_equal(mixed, LOGITS)
    log_p = np.log(np.array([0.3, 0.6]))
    with np.errstate(divide="ignore"):
        assert np.array_equal(log_mixed(log_p, np.array([1.0, 0.0]), 0.0), log_p)


def test_neighbours_that_are_missing_have_no_weight():
    """Lists that are searched may hold fewer than K keys, or none: no NaN."""
    distances = np.array([[1.0, np.inf], [np.inf, np.inf]], np.float32)
    assert neighbour_weights(distances, 1.0).tolist() == [[1.0, 0.0], [0.0, 0.0]]
