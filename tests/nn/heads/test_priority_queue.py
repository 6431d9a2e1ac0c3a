"""Priority queue heads against a loop. Axes: B batch, T time, D width."""

import numpy as np
import pytest

from mocanet_jax.nn.heads import PriorityQueue
from tests.nn.heads import one_head


def softened(gate, hardness):
    return gate > 0 if hardness else 1 / (1 + np.exp(-gate))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("hardness", [0.0, 1.0])
@pytest.mark.parametrize("gated", [False, True])
def test_queues_by_a_loop(gated, hardness):
    """Rank and place of each of two heads, how sharply it reads, how much of a token is held,
    and what is stored: a map of the last three unmasked tokens, each channel with a tap for
    each. A place moves by what is not held."""
    net = one_head.sized(PriorityQueue(2, sharpness=0.7), num_slots=20, gated=gated)
    z, mask = one_head.random_inputs(B=1, T=11)
    params = one_head.drawn(net)
    own, projections = params["it"], params["projections"]
    linear = lambda name: z[0] @ projections[name]["kernel"] + projections[name].get("bias", 0)
    margins = np.random.default_rng(4).normal(size=(1, 11, 2))
    write = one_head.gate(mask, 2, margins > 0, margins) if gated else None
    output = one_head.run(net, params, one_head.Inputs(z, mask, write=write), hardness=hardness)
    gates = margins[0] if gated else linear("head_strength")
    seen, place, entries = np.zeros((2, 4)), np.zeros(2), []
    for t in np.flatnonzero(mask[0]):
        logits = linear("head_place_pointer")[t].reshape(2, 4)
        weights = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
        shift = weights @ [-1, 0, 1]
        held = softened(gates[t], hardness)
        np.testing.assert_allclose(output.trace.strength[0, t], held, atol=1e-9)
        loose = 2 * np.abs(shift - np.round(shift)).mean()
        if not gated:
            soft = softened(gates[t], 0)
            loose += 2 * np.abs(soft - np.round(soft)).mean()
        np.testing.assert_allclose(output.penalty[0, t], loose, atol=1e-9)
        place = place + (1 - held) * (np.round(shift) if hardness else shift)
        window = np.concatenate([seen, z[0, t : t + 1]])
        seen = window[1:]
        stored = sum(own["taps"][k] * window[k] for k in range(3))
        value = (stored @ own["value"]["kernel"]).reshape(2, 2)
        entries.append((linear("head_rank")[t], value, held))
        sharpness = 0.7 * (1 + np.log1p(np.exp(logits[:, 3])))
        for head in range(2):
            expected = read(entries, head, place[head], sharpness[head], own["sink"][head])
            np.testing.assert_allclose(output.read[0, t, head], expected, atol=1e-9)
    np.testing.assert_allclose(output.state.place[0], place, atol=1e-9)
    np.testing.assert_allclose(output.state.recent[0], seen, atol=1e-12)


def read(entries, head, place, sharpness, sink):
    """The mean of values by how near they are to the place in the order of falling rank."""
    ranks, values, held = (np.array([e[n][head] for e in entries]) for n in range(3))
    first = np.array([[np.sum(held * _before(ranks, i)), i] for i in range(len(ranks))])
    weights = held * np.exp(-sharpness * (1 + first[:, 0] - place) ** 2)
    return weights @ values / (weights.sum() + np.exp(sink))


def _before(ranks, i):
    """1 for what comes before entry i: of higher rank, or equal and written earlier."""
    earlier = np.arange(len(ranks)) < i
    return (ranks > ranks[i]) | ((ranks == ranks[i]) & earlier)


def test_queues_start_undecided_and_store_a_token_with_the_one_before_it():
    """Each token is half in the order, so that tokens without a role can leave as easily as
    others can enter; and an entry is the token before the one that gives its rank."""
    net = one_head.sized(PriorityQueue(1))
    taps = one_head.initial(net)["it"]["taps"]
    np.testing.assert_allclose(taps.mean(axis=1), [0, 1, 1], atol=0.2)
    assert PriorityQueue.write_gate_start == 0
