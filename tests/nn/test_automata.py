"""Automata, against following arrows with whole numbers.

Axes: B batch, T time, D width, A automata, N states, K maps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.automata import CHOICE_GAIN, GAIN, Automata, AutomataState

A, N, K = 2, 5, 3
NET = Automata(A, N, K)
ARROWS = np.random.default_rng(0).permuted(np.tile(np.arange(N), (A, K, 1)), axis=-1)
"""Where each map of each automaton leads from each state."""


def params():
    """z holds the logits of all choices, and the output all states."""
    sharp = 50.0 * np.eye(N)[ARROWS] / GAIN
    choice = {"kernel": 50.0 / CHOICE_GAIN * jnp.eye(A * N, A * K), "bias": jnp.zeros(A * K)}
    return {
        "params": {
            "choice": choice,
            "maps": jnp.asarray(sharp),
            "output": {"kernel": jnp.eye(A * N)},
        }
    }


@jax.jit
def run(z, mask, state, hardness=1.0):
    output, state = NET.apply(params(), z, mask, state, hardness)
    return output.reshape(*mask.shape, A, N), state


def random_choices(B, T):
    """A map for every automaton, [B, T, A], and the z that chooses it."""
    choices = np.random.default_rng(1).integers(0, K, (B, T, A))
    logits = np.eye(K)[choices].reshape(B, T, A * K)
    return choices, np.pad(logits, ((0, 0), (0, 0), (0, A * N - A * K)))


def followed(choices, mask):
    """States, int [B, T, A], by looking up arrows."""
    states, now = [], np.zeros(choices[:, 0].shape, int)
    for t in range(choices.shape[1]):
        after = ARROWS[np.arange(A), choices[:, t], now]
        now = np.where(mask[:, t, None], after, now)
        states.append(now)
    return np.stack(states, axis=1)


@pytest.mark.usefixtures("float64")
def test_states_follow_the_chosen_maps():
    """In one run, and in segments that carry the states; masked tokens move nothing."""
    choices, z = random_choices(B=3, T=11)
    mask = np.random.default_rng(2).random((3, 11)) < 0.7
    whole, state = run(z, mask, NET.initial_state(3))
    np.testing.assert_allclose(whole, np.eye(N)[followed(choices, mask)], atol=1e-12)
    np.testing.assert_allclose(state.states, whole[:, -1], atol=1e-12)
    first, halfway = run(z[:, :4], mask[:, :4], NET.initial_state(3))
    second, end = run(z[:, 4:], mask[:, 4:], halfway)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-12)
    np.testing.assert_allclose(end.states, state.states, atol=1e-12)


def test_masked_tokens_leave_the_state_to_the_last_bit():
    _, z = random_choices(B=2, T=4)
    start = AutomataState(jnp.asarray(np.random.default_rng(0).random((2, A, N)), jnp.float32))
    _, state = run(z, np.zeros((2, 4), bool), start)
    np.testing.assert_array_equal(state.states, start.states)


def test_long_sequences_are_followed_in_single_precision():
    """Columns that are a rounding error off would shrink or grow without end."""
    choices, z = random_choices(B=1, T=20_001)
    mask = np.ones((1, 20_001), bool)
    states, _ = run(jnp.asarray(z, jnp.float32), mask, NET.initial_state(1))
    np.testing.assert_allclose(states, np.eye(N)[followed(choices, mask)], atol=0.01)


STAYS, FIRST = 1 / (1 + np.exp(-6.0)), 1 / (1 + np.exp(-8.0))


@pytest.mark.parametrize(
    ("hardness", "share"),
    [
        (0.0, FIRST * STAYS + (1 - FIRST) * (1 - STAYS)),
        (1.0, 1.0),
        (0.5, (1 + FIRST) / 2 * (1 + STAYS) / 2 + (1 - FIRST) / 2 * (1 - STAYS) / 2),
    ],
)
def test_soft_states_by_hand(hardness, share):
    """One automaton of two states; its first map stays, its second moves, each with logits that
    differ by 6, and a token chooses the first by 8. Halfway to hard, each of both is halfway to
    hard."""
    net, odds = Automata(1, 2, 2), np.array([[6.0, 0], [0, 6.0]])
    maps = np.stack([odds, np.flip(odds, axis=0)])[None] / GAIN
    own = {
        "choice": {"kernel": jnp.zeros((2, 2)), "bias": jnp.array([8.0, 0.0]) / CHOICE_GAIN},
        "maps": jnp.asarray(maps, jnp.float32),
        "output": {"kernel": jnp.eye(2)},
    }
    z, mask = jnp.zeros((1, 1, 2)), jnp.ones((1, 1), bool)
    output, _ = net.apply({"params": own}, z, mask, net.initial_state(1), hardness)
    np.testing.assert_allclose(output[0, 0], [share, 1 - share], atol=1e-6)


def test_automata_cannot_learn_to_forget():
    """Where logits hardly tell states or maps apart, a token still leads to one state with more
    than twice the probability of chance."""
    net = Automata(2, 8, 8)
    z, mask = jnp.ones((1, 1, 3)), jnp.ones((1, 1), bool)
    params = net.init(jax.random.key(0), z, mask, net.initial_state(1), 0.0)["params"]
    params = {name: params[name] for name in ("choice", "maps", "output")}
    vague = jax.tree.map(lambda leaf: 1e-2 * leaf, params)
    _, state = net.apply({"params": vague}, z, mask, net.initial_state(1), 0.0)
    assert np.all(jnp.max(state.states, axis=-1) > 2 / 8)


def test_maps_start_as_permutations_that_are_not_yet_sure():
    """Otherwise the first gradients do not reach early tokens, or nothing is left to learn."""
    net = Automata(4, 8, 8)
    z, mask = jnp.ones((1, 1, 3)), jnp.ones((1, 1), bool)
    table = net.init(jax.random.key(0), z, mask, net.initial_state(1), 0.0)["params"]["maps"]
    peaks = np.asarray(jnp.argmax(table, axis=-1))
    one_to_one = np.mean([len(set(row)) == 8 for row in peaks.reshape(-1, 8)])
    assert one_to_one > 0.9  # noise may move a peak
    sure = np.asarray(jnp.max(jax.nn.softmax(GAIN * table, axis=-1), axis=-1))
    assert 0.8 < sure.mean() < 0.97
