"""Finite automata: states by hand, and every form against the definition.

Axes: B batch, T time, A automata, N states.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.automata import automaton_states, naive_states

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
