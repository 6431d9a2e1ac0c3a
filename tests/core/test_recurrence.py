from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mocanet_jax.core.recurrence import linear_recurrence

FORMS = ("scan", "associative")
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
def test_recurrence_by_hand(form):
    """From 4: 0.5·4 + 1 = 3, 0·3 + 7 = 7, 1·7 - 2 = 5."""
    decay, inputs = jnp.array([0.5, 0.0, 1.0]), jnp.array([1.0, 7.0, -2.0])
    states = linear_recurrence(
        decay[None, :, None], inputs[None, :, None], jnp.array([[4.0]]), form
    )
    np.testing.assert_array_equal(states[0, :, 0], [3, 7, 5])


def loop(decay, inputs, initial):
    states = [initial]
    for t in range(inputs.shape[1]):
        states.append(decay[:, t] * states[-1] + inputs[:, t])
    return jnp.stack(states[1:], axis=1)


@pytest.mark.usefixtures("float64")
@example(1, 1, 2, 0)
@given(st.integers(1, 2), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_both_forms_are_a_loop_over_time(batch, length, width, seed):
    """Values and the hand-written gradient, with decays of exactly 0 and 1 among them."""
    rng = np.random.default_rng(seed)
    decay = rng.choice([0, 1, rng.uniform(), -0.5], (batch, length, width))
    inputs, target = rng.normal(size=(2, batch, length, width))
    initial = rng.normal(size=(batch, width))

    def outcome(function, *arguments):
        def loss(*arguments):
            states = function(*arguments)
            return jnp.sum(states * target), states

        gradient, states = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*arguments)
        return states, *gradient

    functions = [loop, *(partial(linear_recurrence, form=form) for form in FORMS)]
    every = jax.jit(lambda *arguments: [outcome(f, *arguments) for f in functions])
    expected, *forms = every(decay, inputs, initial)
    names = ("states", "gradient of decay", "gradient of inputs", "gradient of initial")
    for form, got in zip(FORMS, forms, strict=True):
        for name, a, b in zip(names, got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"{name}, {form}")


@each_form
@pytest.mark.usefixtures("float64")
def test_segments_join_into_the_whole_sequence(form):
    """The last state must be all that a later segment needs."""
    rng = np.random.default_rng(0)
    decay, inputs = jnp.asarray(rng.uniform(size=(2, 2, 7, 3)))
    initial = jnp.asarray(rng.normal(size=(2, 3)))
    first = linear_recurrence(decay[:, :3], inputs[:, :3], initial, form)
    second = linear_recurrence(decay[:, 3:], inputs[:, 3:], first[:, -1], form)
    whole = linear_recurrence(decay, inputs, initial, form)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-12)


@each_form
@pytest.mark.parametrize(
    ("decay", "inputs", "initial"),
    [
        ((2, 4, 3), (2, 4, 1), (2, 3)),
        ((2, 4, 3), (2, 4, 3), (1, 3)),
        ((4, 3), (4, 3), (3,)),
    ],
)
def test_wrong_shapes_are_refused(form, decay, inputs, initial):
    """Broadcasting would give every example or channel the same state."""
    with pytest.raises(AssertionError):
        linear_recurrence(jnp.ones(decay), jnp.ones(inputs), jnp.ones(initial), form)


def test_wrong_types_are_refused():
    """Integer decays are all 0 or 1: a cast was forgotten."""
    with pytest.raises(AssertionError):
        linear_recurrence(jnp.ones((2, 4, 3), int), jnp.ones((2, 4, 3)), jnp.ones((2, 3)))


def test_an_unknown_form_is_refused():
    """A misspelt form must not run as some other form."""
    x = jnp.zeros((1, 2, 3))
    with pytest.raises(ValueError, match="form must be one of"):
        linear_recurrence(x, x, jnp.zeros((1, 3)), "assocative")
