"""Finite automata: states by hand, and every form against the definition.

Axes: B batch, T time, A automata, N states.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.automata import automaton_states, balanced, naive_states, spread

FORMS = ("scan", "associative")
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
def test_states_by_hand(form):
    """From state 0 of three: a cycle to 1, the same to 2, a map of all to 0, and one that sends
    state 0 half to 1 and half to 2."""
    cycle = np.roll(np.eye(3), 1, axis=0)
    to_first = np.repeat(np.eye(3)[:, :1], 3, axis=1)
    split = np.array([[0, 0, 1], [0.5, 1, 0], [0.5, 0, 0]])
    maps = np.stack([cycle, cycle, to_first, split])[None, :, None]
    states = automaton_states(jnp.float32(maps), jnp.eye(3)[None, :1], form)
    expected = [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0.5, 0.5]]
    np.testing.assert_array_equal(states[0, :, 0], expected)


def stochastic(rng, shape, count):
    """Maps with columns of sum 1, among them one-hot ones; and distributions."""
    logits = rng.normal(size=shape) * rng.choice([1, 1000], shape[:-2])[..., None, None]
    return jax.nn.softmax(logits, axis=-2), rng.dirichlet(np.ones(shape[-1]), count)


def outcomes(maps, initial, target):
    """By form: states, and the gradient of both arguments."""

    def outcome(function):
        loss = lambda maps, initial: jnp.sum(function(maps, initial) * target)
        return function(maps, initial), *jax.grad(loss, argnums=(0, 1))(maps, initial)

    functions = [naive_states, *(partial(automaton_states, form=form) for form in FORMS)]
    return jax.jit(lambda: [outcome(function) for function in functions])()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [(2, 1, 1, 2), (1, 7, 3, 4), (3, 6, 2, 5)])
def test_both_forms_are_the_product_of_all_maps(size):
    """Values and the hand-written gradient; otherwise training in one form and evaluation in
    the other are two models."""
    rng = np.random.default_rng(0)
    maps, initial = stochastic(rng, (*size, size[-1]), (size[0], size[2]))
    target = rng.normal(size=size)
    expected, *forms = outcomes(maps, initial, target)
    np.testing.assert_allclose(jnp.sum(expected[0], axis=-1), 1.0)
    for got in forms:
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_single_precision_gives_the_same_gradient():
    rng = np.random.default_rng(1)
    maps, initial = stochastic(rng, (2, 9, 2, 4, 4), (2, 2))
    target = rng.normal(size=(2, 9, 2, 4))
    arrays = (jnp.asarray(x, jnp.float32) for x in (maps, initial, target))
    expected, *forms = outcomes(*arrays)
    for got in forms:
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_balanced_logits_are_of_doubly_stochastic_maps():
    logits = jax.random.normal(jax.random.key(0), (3, 5, 5))
    maps = jax.nn.softmax(balanced(logits), axis=-1)
    np.testing.assert_allclose(jnp.sum(maps, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(maps, axis=-2), 1, atol=0.02)


def test_a_permutation_stays_what_it_is():
    sharp = 20.0 * jnp.eye(4)[jnp.array([2, 0, 3, 1])]
    np.testing.assert_allclose(
        jax.nn.softmax(balanced(sharp), axis=-1), jax.nn.softmax(sharp, axis=-1), atol=1e-6
    )


def test_of_two_states_that_lead_to_one_the_less_certain_gives_way():
    """States 0 and 1 both prefer state 0, and state 2 is sure of state 2."""
    logits = jnp.array([[9.0, 0, 0], [6.0, 3, 0], [0, 0, 9.0]])
    assert jnp.argmax(logits, axis=-1).tolist() == [0, 0, 2]
    assert jnp.argmax(balanced(logits), axis=-1).tolist() == [0, 1, 2]


def test_logits_are_spread_where_they_are_close():
    """Deviations by hand: of (1, −1) it is 1, of (7, 1) 3."""
    np.testing.assert_allclose(spread(jnp.array([2.0, 0.0]), 2.0), [2, -2], rtol=1e-5)
    np.testing.assert_allclose(spread(jnp.array([7.0, 1.0]), 2.0), [3, -3], rtol=1e-5)
    np.testing.assert_array_equal(spread(jnp.array([4.0, 4.0]), 2.0), [0, 0])


def test_spread_logits_of_any_size_have_a_gradient():
    for size in (0.0, 1e-8, 1.0, 1e4):
        logits = size * jnp.array([0.3, -1.0, 0.5])
        gradient = jax.grad(lambda x: spread(x, 2.0)[0])(logits)
        assert np.all(np.isfinite(gradient))
