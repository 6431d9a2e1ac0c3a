"""Routing decisions. Axes: B batch, T time, D width, H memory heads, S slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.budget import Prices
from mocanet_jax.nn.router import Router

COSTS = Prices(0.4, 0.3, 0.2)


def router(location=1, content=1, experts=3, dynamic=False):
    return Router(
        experts, location, content, 6, 2, temperature=0.5, sharpness=0.7, dynamic=dynamic
    )


def route(net, z, mask, rounding=1.0, params=None, num_slots=6):
    """Route, next state and parameters; random parameters unless given."""
    start = net.initial_state(z.shape[0], z.shape[2])
    arguments = z, mask, start, num_slots, rounding, COSTS
    if params is None:
        shapes = jax.eval_shape(lambda key: net.init(key, *arguments), jax.random.key(0))
        rng = np.random.default_rng(0)
        params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return *jax.jit(net.apply, static_argnums=4)(params, *arguments), params


def random_inputs(B=2, T=6, D=4):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(B, T, D))), jnp.asarray(rng.random((B, T)) < 0.7)


def test_pointers_start_by_writing_ahead_and_reading_in_place():
    """The start from which copying is learned: one slot a token, and none where masked."""
    net, z = router(content=0), jnp.zeros((1, 5, 4))
    mask = jnp.array([[True, True, False, True, True]])
    start = net.initial_state(1, 4)
    params = jax.jit(lambda key: net.init(key, z, mask, start, 6, 1.0, COSTS))(
        jax.random.key(0)
    )
    decided, state, _ = route(net, z, mask, 1.0, params)
    np.testing.assert_array_equal(decided.positions[0, :, 0, 0], [1, 2, 2, 3, 4])
    np.testing.assert_array_equal(decided.positions[0, :, 1, 0], [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(decided.write.indices[0, :, 0, 0], [1, 2, 2, 3, 4])
    np.testing.assert_array_equal(decided.read.indices[0, :, 0], [[0, 1]] * 5)
    assert (state.write_pointer, state.read_pointer) == (4, 0)
    # softmax(-4, -2, 4): a mean shift of (e^4 - e^-4) / (e^4 + e^-2 + e^-4) = 0.9969.
    soft, _, _ = route(net, z, mask, 0.0, params)
    np.testing.assert_allclose(soft.positions[0, -1, 0, 0], 4 * 0.9969, atol=1e-3)


@pytest.mark.usefixtures("float64")
def test_rounding_may_differ_between_examples():
    """Each example must be routed as it would be under its own rounding."""
    net, (z, mask) = router(location=2, content=0), random_inputs()
    mixed, _, params = route(net, z, mask, jnp.array([0.0, 1.0]))
    for example, rounding in enumerate((0.0, 1.0)):
        alone, _, _ = route(net, z, mask, rounding, params)
        np.testing.assert_allclose(mixed.positions[example], alone.positions[example])
    assert (mixed.positions[1] == np.round(mixed.positions[1])).all()
    assert (np.abs(mixed.positions[0] - np.round(mixed.positions[0])) > 1e-3).any()


@pytest.mark.usefixtures("float64")
def test_content_heads_take_the_slots_whose_keys_score_highest():
    """Against a loop: the write query sees three tokens, the read query one."""
    net, (z, _) = router(location=0, content=2), random_inputs(B=1)
    decided, _, variables = route(net, z, jnp.ones(z.shape[:2], bool))
    params = variables["params"]
    before = np.concatenate([np.zeros((2, 4)), z[0]])
    for t in range(z.shape[1]):
        mixed = sum(params["convolution"][k] * before[t + k] for k in range(3))
        sources = (("write", mixed, decided.write), ("read", z[0, t], decided.read))
        for name, source, address in sources:
            query = (source @ params[f"{name}_query"]["kernel"]).reshape(2, 2)
            for head in range(2):
                scores = params["keys"][head] @ query[head]
                best = np.argsort(-scores)[:2]
                weights = np.exp((scores[best] - scores[best[0]]) / 0.5)
                np.testing.assert_array_equal(address.indices[0, t, head], best)
                np.testing.assert_allclose(
                    address.weights[0, t, head], weights / np.linalg.norm(weights), atol=1e-9
                )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dynamic", [False, True])
def test_masked_tokens_neither_write_nor_forget(dynamic):
    """Strength 0 and retention 1 where masked; location heads never forget."""
    net, (z, mask) = router(location=1, content=1, dynamic=dynamic), random_inputs()
    decided, _, _ = route(net, z, mask)
    for engaged in (decided.strength, decided.writes, decided.reads):
        assert (engaged[~mask] == 0).all()
    writing = decided.writes[mask] == 1
    assert (decided.strength[mask] < 1).all()
    assert ((decided.strength[mask] > 0) == writing).all()
    assert dynamic or writing.all()
    assert (decided.reads[mask] == 1).all()
    assert (decided.log_retention[~mask] == 0).all()
    assert (decided.log_retention[..., 0] == 0).all()
    assert (decided.log_retention[..., 1][mask] < 0).all()


@pytest.mark.usefixtures("float64")
def test_heads_keep_their_order():
    """Location heads come first; content heads address only trained slots of a larger
    memory, location heads all of it."""
    net, (z, mask) = router(location=2, content=1, experts=0), random_inputs(D=6)
    decided, _, params = route(net, z, mask, num_slots=60)
    assert decided.expert_logits is None
    assert decided.write.indices.shape == decided.read.weights.shape == (2, 6, 3, 2)
    assert decided.write.indices[:, :, 2].max() < 6
    nearest = np.mod(np.floor(decided.positions[:, :, 0]), 60)
    np.testing.assert_array_equal(decided.write.indices[:, :, :2, 0], nearest)
    fewer, _, _ = route(net, z, mask, params=params)
    np.testing.assert_array_equal(decided.write.indices[:, :, 2], fewer.write.indices[:, :, 2])


@pytest.mark.usefixtures("float64")
def test_dynamic_gates_by_hand():
    """Each part has its own logit and cost; a write that is shut has no strength, whatever β
    says. Against a loop over tokens and heads."""
    net, (z, mask) = router(location=1, content=1, dynamic=True), random_inputs()
    decided, _, variables = route(net, z, mask)
    params = variables["params"]
    gates = {
        "expert": (COSTS.experts, decided.expert_logits),
        "write_gate": (COSTS.writes, decided.write_margins),
    }
    logits = lambda name, at: z[at] @ params[name]["kernel"] + params[name]["bias"]
    for at in np.ndindex(*mask.shape):
        for name, (cost, margins) in gates.items():
            expected = 6 * np.tanh(logits(name, at) / 6) - cost
            np.testing.assert_allclose(margins[at], expected, atol=1e-9)
        beta = 1 / (1 + np.exp(-logits("strength", at)))
        for head in range(2):
            write = decided.write_margins[at][head] > 0 and mask[at]
            assert decided.writes[at][head] == write
            expected = beta[head] if write else 0
            np.testing.assert_allclose(decided.strength[at][head], expected, atol=1e-9)
        np.testing.assert_allclose(decided.read_logits[at], logits("read_gate", at), atol=1e-9)
    assert 0 < decided.writes[mask].mean() < 1, "no gate is open, or all are"


def test_dynamic_gates_start_open():
    """What starts shut has nothing to learn from: of a token without features all logits are
    2, and 2 bent by the bound."""
    net, z, mask = router(dynamic=True), jnp.zeros((1, 2, 4)), jnp.ones((1, 2), bool)
    start = net.initial_state(1, 4)
    params = jax.jit(lambda key: net.init(key, z, mask, start, 6, 1.0, COSTS))
    decided, _, _ = route(net, z, mask, params=params(jax.random.key(0)))
    bent = 6 * np.tanh(2 / 6)
    np.testing.assert_allclose(
        decided.expert_logits, jnp.full((1, 2, 3), bent - 0.4), rtol=1e-6
    )
    np.testing.assert_allclose(
        decided.write_margins, jnp.full((1, 2, 2), bent - 0.3), rtol=1e-6
    )
    np.testing.assert_array_equal(decided.read_logits, jnp.full((1, 2, 2), 2))
    assert (decided.writes == 1).all()


def test_fixed_routing_has_no_gates():
    """Top-k routing must not pay for gates, nor keep parameters of them."""
    net, (z, mask) = router(), random_inputs()
    decided, _, params = route(net, z, mask)
    assert decided.write_margins is decided.read_logits is None
    assert params["params"]["expert"].keys() == {"kernel"}
    assert not {"write_gate", "read_gate"} & params["params"].keys()


def test_without_heads_only_experts_are_routed():
    """A model without memory must not pay for addresses."""
    net, (z, mask) = router(location=0, content=0), random_inputs()
    decided, _, params = route(net, z, mask)
    assert decided.expert_logits.shape == (2, 6, 3)
    assert all(part is None for part in decided[1:])
    assert params["params"].keys() == {"expert"}


@pytest.mark.parametrize("sharpness", [1e-3, 0.7, 200.0])
def test_pointer_sharpness_of_any_size_is_finite(sharpness):
    """A pointer between two slots must address both, not divide nothing by nothing."""
    net = Router(0, 1, 0, 6, 2, temperature=1.0, sharpness=sharpness, dynamic=False)
    z, mask = jnp.zeros((1, 3, 4)), jnp.ones((1, 3), bool)
    start = net.initial_state(1, 4)
    params = jax.jit(lambda key: net.init(key, z, mask, start, 6, 0.0, COSTS))(
        jax.random.key(0)
    )
    # Odds 1 : 1 of the shifts 0 and +1 put the first position at 0.5.
    params["params"]["write_pointer"]["bias"] = jnp.array([-99.0, 0.0, 0.0, 0.0])
    decided, _, _ = route(net, z, mask, 0.0, params)
    np.testing.assert_allclose(decided.positions[0, :, 0, 0], [0.5, 1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(decided.write.weights[0, 0, 0], [0.5**0.5] * 2, rtol=1e-4)
    assert np.isfinite(decided.write.weights).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dynamic", [False, True])
def test_indecision_is_of_shifts_and_of_writes_that_are_decided(dynamic):
    """Means over heads of write shift, read shift and, with gates, the write."""
    net = router(location=2, dynamic=dynamic)
    z, mask = random_inputs()
    soft, _, params = route(net, z, mask, 0.0)
    start = np.zeros((len(z), 1, 2, 2))
    shifts = np.diff(np.concatenate([start, soft.positions], axis=1), axis=1)
    loose = 2 * np.abs(shifts - np.round(shifts))
    expected = loose.mean(axis=3).sum(axis=2)
    if dynamic:
        open_ = 1 / (1 + np.exp(-soft.write_margins))
        expected = expected + 2 * np.abs(open_ - np.round(open_)).mean(axis=2)
    rounded, _, _ = route(net, z, mask, 1.0, params)
    np.testing.assert_allclose(rounded.indecision[mask], expected[mask], atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_keys_and_queries_are_one_map_of_two_views():
    """Of unit length, the query times a sharpness; padding is in no view. Against a loop."""
    net = Router(0, 0, 0, 6, 2, 1.0, 0.7, dynamic=False, num_association_heads=2)
    z, mask = random_inputs(B=1, T=11)
    decided, state, variables = route(net, z, mask)
    params = variables["params"]
    seen = np.zeros((7, 4))
    for t in np.flatnonzero(mask[0]):
        window = np.concatenate([seen, z[0, t : t + 1]])
        seen = window[1:]
        for name, got in (
            ("key", decided.associations.key),
            ("query", decided.associations.query),
        ):
            view = sum(params[f"{name}_taps"][k] * window[k] for k in range(8))
            expected = (view @ params["association_key"]["kernel"]).reshape(2, 2)
            expected /= np.sqrt(np.sum(expected**2, axis=-1, keepdims=True) + 1e-6)
            if name == "query":
                expected *= params["association_sharpness"][:, None]
            np.testing.assert_allclose(got[0, t], expected, atol=1e-9)
    np.testing.assert_allclose(state.recalled[0], seen, atol=1e-12)
    np.testing.assert_array_equal(decided.associations.sink[0], params["association_sink"])
    assert decided.write is decided.read is None


def test_associations_start_by_finding_what_followed():
    """The key of a token is about the one before it and its query about itself: the second 'a'
    of 'a b … a' must ask for b from the start, or there is nothing to learn from."""
    net = Router(0, 0, 0, 6, 2, 1.0, 0.7, dynamic=False, num_association_heads=1)
    letters = np.random.default_rng(0).normal(size=(5, 16))
    z, mask = (
        jnp.asarray(letters[[0, 1, 2, 3, 4, 0]], jnp.float32)[None],
        jnp.ones((1, 6), bool),
    )
    start = net.initial_state(1, 16)
    params = jax.jit(lambda key: net.init(key, z, mask, start, 6, 1.0, COSTS))(
        jax.random.key(0)
    )
    decided, _, _ = route(net, z, mask, params=params)
    scores = decided.associations.key[0, :, 0] @ decided.associations.query[0, 5, 0]
    assert np.argmax(scores) == 1
    assert scores[1] > decided.associations.sink[0, 0] > max(scores[2:])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rounding", [0.0, 1.0])
@pytest.mark.parametrize("dynamic", [False, True])
def test_order_heads_by_a_loop(dynamic, rounding):
    """Rank and place of each of two heads, how sharply it reads, how much of a token is held,
    and what is stored: z of the last three unmasked tokens, each channel with a tap for each.
    A place moves by what is not held.
    """
    net = Router(0, 0, 0, 6, 2, 1.0, 0.7, dynamic, num_order_heads=2)
    z, mask = random_inputs(B=1, T=11)
    decided, state, variables = route(net, z, mask, rounding)
    params, order = variables["params"], decided.order
    seen, place, said = np.zeros((2, 4)), np.zeros(2), {}
    for t in range(11):
        for name in ("rank", "place_pointer", "write_gate" if dynamic else "strength"):
            said[name] = z[0, t] @ params[name]["kernel"] + params[name].get("bias", 0.0)
        logits = said["place_pointer"].reshape(2, 4)
        weights = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
        shift = weights @ [-1, 0, 1]
        gate = said["strength"] if not dynamic else 6 * np.tanh(said["write_gate"] / 6) - 0.3
        held = gate > 0 if rounding else 1 / (1 + np.exp(-gate))
        np.testing.assert_allclose(decided.strength[0, t], held * mask[0, t], atol=1e-9)
        if mask[0, t]:
            place = place + (1 - held) * (np.round(shift) if rounding else shift)
            window = np.concatenate([seen, z[0, t : t + 1]])
            seen = window[1:]
            stored = sum(params["order_taps"][k] * window[k] for k in range(3))
            np.testing.assert_allclose(order.stored[0, t], stored, atol=1e-9)
        np.testing.assert_allclose(order.key[0, t, :, 0], said["rank"], atol=1e-9)
        sharpness = 0.7 * (1 + np.log1p(np.exp(logits[:, 3])))
        np.testing.assert_allclose(order.query[0, t, :, 0], place, atol=1e-9)
        np.testing.assert_allclose(order.query[0, t, :, 1], sharpness, atol=1e-9)
        loose = np.stack([shift, 1 / (1 + np.exp(-gate))])
        loose = 2 * np.abs(loose - np.round(loose)).mean(axis=1).sum()
        np.testing.assert_allclose(decided.indecision[0, t], loose, atol=1e-9)
    np.testing.assert_allclose(state.place[0], place, atol=1e-9)
    np.testing.assert_allclose(state.recent[0], seen, atol=1e-12)
    np.testing.assert_array_equal(order.sink[0], params["order_sink"])


def test_order_heads_start_undecided_and_store_a_token_with_the_one_before_it():
    """Each token half in the order, so that what disturbs it can leave as easily as what it is
    for can enter; and what is sorted is seen where it is said how."""
    heads = {"num_association_heads": 1, "num_order_heads": 1}
    net = Router(0, 0, 0, 6, 2, 1.0, 0.7, dynamic=True, **heads)
    start, z = net.initial_state(1, 4), jnp.ones((1, 3, 4))
    arguments = z, jnp.ones((1, 3), bool), start, 6, 0.0, COSTS
    params = jax.jit(lambda key: net.init(key, *arguments))(jax.random.key(0))["params"]
    np.testing.assert_array_equal(params["write_gate"]["bias"], [2, 0])
    np.testing.assert_array_equal(params["read_gate"]["bias"], [2, 2])
    np.testing.assert_allclose(params["order_taps"].mean(axis=1), [0, 1, 1], atol=0.2)
