"""Counters, against counting with whole numbers. Axes: B batch, T time, D width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.counters import Counters, CounterState

SIZES = (2, 3, 3, 5)
TOTAL, CHARACTERS = sum(SIZES), sum(size // 2 for size in SIZES)
NET = Counters(SIZES)


def params(scale=50.0):
    """z holds the logits of all turns, and the output all characters."""
    turn = {"kernel": scale * jnp.eye(TOTAL), "bias": jnp.zeros(TOTAL)}
    return {"params": {"turn": turn, "output": {"kernel": jnp.eye(2 * CHARACTERS, TOTAL)}}}


@jax.jit
def run(z, mask, state, hardness=1.0):
    output, state = NET.apply(params(), z, mask, state, hardness)
    return output[..., : 2 * CHARACTERS].reshape(*mask.shape, CHARACTERS, 2), state


def random_turns(B, T):
    """Whole turns of every counter, [B, T, counters], and the z that produce them."""
    rng = np.random.default_rng(0)
    turns = np.stack([rng.integers(0, size, (B, T)) for size in SIZES], axis=-1)
    rows = [np.eye(size)[turns[..., n]] for n, size in enumerate(SIZES)]
    return turns, np.concatenate(rows, axis=-1)


def characters(places):
    """[…, counters] → […, C, 2], from the definition: e^(2πi k p / n)."""
    angles = [
        2 * np.pi * k * places[..., n] / size
        for n, size in enumerate(SIZES)
        for k in range(1, size // 2 + 1)
    ]
    angles = np.stack(angles, axis=-1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


@pytest.mark.usefixtures("float64")
def test_places_are_sums_modulo_n():
    """In one run, and in segments that carry the places; masked tokens turn nothing."""
    turns, z = random_turns(B=3, T=11)
    mask = np.random.default_rng(1).random((3, 11)) < 0.7
    places = np.cumsum(turns * mask[..., None], axis=1) % np.array(SIZES)
    start = NET.initial_state(3)
    whole, state = run(z, mask, start)
    np.testing.assert_allclose(whole, characters(places), atol=1e-12)
    np.testing.assert_allclose(state.characters, whole[:, -1], atol=1e-12)
    first, halfway = run(z[:, :4], mask[:, :4], start)
    second, end = run(z[:, 4:], mask[:, 4:], halfway)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-12)
    np.testing.assert_allclose(end.characters, state.characters, atol=1e-12)


def test_masked_tokens_leave_the_state_to_the_last_bit():
    _, z = random_turns(B=2, T=4)
    start = CounterState(jnp.asarray(np.random.default_rng(0).normal(size=(2, CHARACTERS, 2))))
    _, state = run(z, np.zeros((2, 4), bool), start)
    np.testing.assert_array_equal(state.characters, start.characters)


def test_long_sequences_are_counted_in_single_precision():
    """Turns that are a rounding error too short would shrink and drift away from the places."""
    turns, z = random_turns(B=1, T=20_001)
    places = np.cumsum(turns, axis=1) % np.array(SIZES)
    mask = np.ones((1, 20_001), bool)
    output, _ = run(jnp.asarray(z, jnp.float32), mask, NET.initial_state(1))
    np.testing.assert_allclose(output, characters(places), atol=0.01)


@pytest.mark.parametrize(
    ("logits", "hardness", "character"),
    [((0, 0), 0.0, 0.0), ((0, 0), 0.5, 0.5), ((0, 0), 1.0, 1.0), ((0, np.log(3)), 0.0, -0.5)],
)
def test_turns_in_between_by_hand(logits, hardness, character):
    """The mean of 1 and −1 in training; halfway to the likeliest, 1; 1/4 − 3/4."""
    z = jnp.zeros((1, 1, TOTAL)).at[0, 0, :2].set(jnp.array(logits) / 50)
    output, _ = run(z, np.ones((1, 1), bool), NET.initial_state(1), hardness)
    np.testing.assert_allclose(output[0, 0, 0], [character, 0], atol=1e-6)


def test_any_function_of_the_place_is_linear_in_the_characters():
    """And a constant: the values at n places are n unknowns, and too few characters would give
    some places the same answer."""
    sizes = (2, 3, 4, 5, 8)
    net, count = Counters(sizes), sum(size // 2 for size in sizes)
    ones = np.concatenate([np.eye(size)[1] for size in sizes])
    z, mask = jnp.tile(50.0 * ones, (1, 8, 1)), np.ones((1, 8), bool)
    params = {
        "turn": {"kernel": jnp.eye(len(ones)), "bias": jnp.zeros(len(ones))},
        "output": {"kernel": jnp.eye(2 * count, len(ones))},
    }
    start = net.initial_state(1)
    assert start.characters.shape == (1, count, 2)
    output = jax.jit(net.apply)({"params": params}, z, mask, start, 1.0)[0][0]
    ends = np.cumsum([2 * (size // 2) for size in sizes])
    for size, end in zip(sizes, ends, strict=True):
        own = output[:size, end - 2 * (size // 2) : end]
        assert np.linalg.matrix_rank(np.c_[np.ones(size), own], tol=1e-3) == size
