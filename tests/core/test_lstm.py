"""The recurrence of an LSTM: its values and its hand-written gradient are those of the plain
scan that follows the formula, also where steps are masked."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.lstm import LstmState, lstm

B, T, D = 3, 7, 4


def naive(inputs, recurrent, mask, state):
    """Step by step, as the formula says, differentiated by JAX."""
    h, c, hidden = state.hidden, state.cell, []
    for t in range(inputs.shape[1]):
        i, f, g, o = jnp.split(inputs[:, t] + h @ recurrent, 4, axis=-1)
        cell = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        live = mask[:, t, None]
        h = jnp.where(live, jax.nn.sigmoid(o) * jnp.tanh(cell), h)
        c = jnp.where(live, cell, c)
        hidden.append(h)
    return jnp.stack(hidden, axis=1), LstmState(h, c)


@pytest.fixture
def arguments():
    keys = iter(jax.random.split(jax.random.key(0), 5))
    normal = lambda *shape: jax.random.normal(next(keys), shape)
    inputs, recurrent = normal(B, T, 4 * D), normal(D, 4 * D)
    state = LstmState(normal(B, D), normal(B, D))
    mask = jnp.array([[True] * T, [True, False, True, True, False, False, True], [False] * T])
    return inputs, recurrent, mask, state


def test_values_are_those_of_the_formula(arguments):
    chex.assert_trees_all_close(lstm(*arguments), naive(*arguments), atol=1e-6)


def test_gradient_is_that_of_the_formula(arguments):
    inputs, recurrent, mask, state = arguments
    weights = jax.random.normal(jax.random.key(1), (B, T, D))

    def loss(run):
        def of(inputs, recurrent, state):
            hidden, last = run(inputs, recurrent, mask, state)
            return jnp.sum(weights * hidden) + jnp.sum(last.hidden**2) + jnp.sum(last.cell**3)

        return jax.grad(of, argnums=(0, 1, 2))(inputs, recurrent, state)

    chex.assert_trees_all_close(loss(lstm), loss(naive), rtol=1e-5, atol=1e-5)


def test_a_masked_step_leaves_the_state_as_it_was(arguments):
    inputs, recurrent, mask, state = arguments
    _, last = lstm(inputs, recurrent, jnp.zeros_like(mask), state)
    chex.assert_trees_all_equal(last, state)


def test_one_cell_by_hand():
    """All weights 0: the gates are σ(0) = 1/2 and the candidate is tanh(1)."""
    inputs = jnp.array([[[0.0, 0.0, 1.0, 0.0]]])
    hidden, state = lstm(
        inputs, jnp.zeros((1, 4)), jnp.ones((1, 1), bool), LstmState(*jnp.ones((2, 1, 1)))
    )
    cell = 0.5 * 1.0 + 0.5 * np.tanh(1.0)
    np.testing.assert_allclose(state.cell, [[cell]], rtol=1e-6)
    np.testing.assert_allclose(hidden, [[[0.5 * np.tanh(cell)]]], rtol=1e-6)
