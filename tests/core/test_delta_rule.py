"""The gated delta rule on dense keys: both forms against its definition, with gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import delta_rule


def spread(form):
    """`form` with what tokens do as arguments of their own."""
    return lambda state, *tokens: form(state, delta_rule.Tokens(*tokens))


FORMS = {
    "recurrent": spread(jax.jit(delta_rule.recurrent)),
    "chunked": spread(jax.jit(partial(delta_rule.chunked, chunk_size=4))),
}
each_form = pytest.mark.parametrize("form", FORMS)


def definition(state, write_keys, read_keys, value, strength, log_retention):
    """V ← α (I − β k kᵀ) V + β k vᵀ, then r = Vᵀ q: the paper's matrices, head by head."""
    reads = np.zeros(value.shape)
    state = state.copy()
    for b, t, h in np.ndindex(value.shape[:3]):
        k, q, v = write_keys[b, t, h], read_keys[b, t, h], value[b, t, h]
        beta, alpha = strength[b, t, h], np.exp(log_retention[b, t, h])
        erase = np.eye(len(k)) - beta * np.outer(k, k)
        state[b, h] = alpha * erase @ state[b, h] + beta * np.outer(k, v)
        reads[b, t, h] = state[b, h].T @ q
    return reads, state


def random_problem(B=2, T=9, H=2, S=3, P=4):
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(B, T, H, S))
    return (
        rng.normal(size=(B, H, S, P)),
        keys / np.linalg.norm(keys, axis=-1, keepdims=True),
        rng.normal(size=(B, T, H, S)),
        rng.normal(size=(B, T, H, P)),
        rng.uniform(size=(B, T, H)),
        rng.uniform(-2, 0, size=(B, T, H)),
    )


@each_form
def test_two_tokens_by_hand(form):
    """The worked example of docs/reference/memory.md: 10 is written to (0.8, 0.6, 0, 0), all is
    halved, 5 is written to (0, 0.8, 0.6, 0) where 0.8 · 3 = 2.4 is found, and the first key
    reads 0.8 · 4 + 0.6 · 5.08."""
    first, second = [0.8, 0.6, 0, 0], [0, 0.8, 0.6, 0]
    shaped = lambda *rows: jnp.array(rows)[None, :, None]  # [B = 1, T, H = 1, …]
    reads, state = FORMS[form](
        jnp.zeros((1, 1, 4, 1)),
        shaped(first, second),
        shaped(first, first),
        shaped([10.0], [5.0]),
        jnp.ones((1, 2, 1)),
        shaped(0.0, np.log(0.5)),
    )
    np.testing.assert_allclose(reads[0, :, 0, 0], [10, 6.248], rtol=1e-5)
    np.testing.assert_allclose(state[0, 0, :, 0], [4, 5.08, 1.56, 0], rtol=1e-5)


@pytest.mark.usefixtures("float64")
@each_form
def test_both_forms_are_the_definition(form):
    """9 tokens are two chunks of 4 and one that is mostly padding."""
    problem = random_problem()
    reads, state = FORMS[form](*map(jnp.asarray, problem))
    expected_reads, expected_state = definition(*problem)
    np.testing.assert_allclose(reads, expected_reads, atol=1e-12)
    np.testing.assert_allclose(state, expected_state, atol=1e-12)


@pytest.mark.usefixtures("float64")
@each_form
def test_gradients_are_those_of_the_definition(form):
    """In the direction of a random change of every argument, against a difference of two
    evaluations of the definition; the error of that is near 1e-9."""
    problem, rng = random_problem(), np.random.default_rng(1)
    at_reads, at_state = (rng.normal(size=problem[n].shape) for n in (3, 0))

    def loss(reads, state):
        return jnp.vdot(reads, at_reads) + jnp.vdot(state, at_state)

    arguments = tuple(range(len(problem)))
    gradient = jax.jit(jax.grad(lambda *x: loss(*FORMS[form](*x)), argnums=arguments))
    found = gradient(*map(jnp.asarray, problem))
    for n in arguments:
        change = 1e-5 * rng.normal(size=problem[n].shape)
        moved = lambda sign, n=n, change=change: definition(
            *(x + sign * change if i == n else x for i, x in enumerate(problem))
        )
        expected = (loss(*moved(1)) - loss(*moved(-1))) / 2
        np.testing.assert_allclose(np.vdot(found[n], change), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [0, 3])
def test_chunks_that_do_not_halve_are_refused(chunk_size):
    form = spread(partial(delta_rule.chunked, chunk_size=chunk_size))
    with pytest.raises(ValueError, match=f"power of two, not {chunk_size}"):
        form(*map(jnp.float32, random_problem()))
