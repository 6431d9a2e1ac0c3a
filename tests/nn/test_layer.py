"""A layer and its parts. Axes: B batch, T time, D width, E experts, K active experts."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocanet_jax.core import gating
from mocanet_jax.nn.controller import Controller, ControllerState
from mocanet_jax.nn.experts import Experts
from mocanet_jax.nn.layer import MocaLayer
from tests.nn import small


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be at least 1, not 0"),
        ({"expert_hidden_dim": 0}, "expert_hidden_dim must be at least 1, not 0"),
        ({"num_memory_slots": 0}, "num_memory_slots must be at least 1, not 0"),
        ({"expert_capacity_factor": 0.0}, "expert_capacity_factor must be above 0, not 0.0"),
        ({"router_temperature": -1.0}, "router_temperature must be above 0, not -1.0"),
        ({"pointer_sharpness": float("nan")}, "pointer_sharpness must be above 0, not nan"),
        ({"num_experts": -1}, "num_experts must not be negative: -1"),
        ({"num_location_heads": -1}, "num_location_heads must not be negative: -1"),
        ({"num_content_heads": -2}, "num_content_heads must not be negative: -2"),
        ({"num_association_heads": -1}, "num_association_heads must not be negative: -1"),
        ({"num_order_heads": -1}, "num_order_heads must not be negative: -1"),
        ({"num_order_heads": 1}, "embedding_dim 8 is not divisible by 3 memory heads"),
        ({"num_association_heads": 1}, "embedding_dim 8 is not divisible by 3 memory heads"),
        ({"tape": "reel"}, 'tape must be "ring", "loop" or "stack", not \'reel\''),
        ({"max_laps": 0}, "max_laps must be at least 1, not 0"),
        ({"counters": (3, 1)}, "counters must have sizes from 2 on, not (3, 1)"),
        ({"counters": (2.5,)}, "counters must have sizes from 2 on, not (2.5,)"),
        ({"routing": "best"}, 'routing must be "dynamic" or "topk", not \'best\''),
        ({"target_budget": -0.1}, "target_budget must be in [0, 1], not -0.1"),
        ({"target_budget": 1.5}, "target_budget must be in [0, 1], not 1.5"),
        ({"exploration": 2.0}, "exploration must be in [0, 1], not 2.0"),
        ({"exploration": float("nan")}, "exploration must be in [0, 1], not nan"),
        ({"time": "fast"}, 'time must be "scan" or "parallel", not \'fast\''),
        ({"num_content_heads": 2}, "embedding_dim 8 is not divisible by 3 memory heads"),
        ({"top_k_slots": 0}, "top_k_slots must be between 1 and num_memory_slots 9, not 0"),
        ({"top_k_slots": 10}, "top_k_slots must be between 1 and num_memory_slots 9, not 10"),
        ({"top_k_experts": 0}, "top_k_experts must be between 1 and num_experts 3, not 0"),
        ({"top_k_experts": 4}, "top_k_experts must be between 1 and num_experts 3, not 4"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    """Otherwise they would fail far away, or run as another model than asked for."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small.spec(**changes)


def test_absent_parts_need_no_sizes():
    """Settings of a part that is switched off must not stand in the way."""
    small.spec(num_experts=0, top_k_experts=5)
    small.spec(num_location_heads=0, num_content_heads=0, top_k_slots=99)


def test_prices_by_hand():
    """3 experts of 4 · 8 · 6; accesses of 2 · 8²; for a write two passes over 2 rows of 8."""
    assert small.spec().prices == (3 * 192.0, 128 + 64.0, 128.0)
    assert small.spec(num_experts=0).prices.experts == 0
    assert small.spec(num_location_heads=0, num_content_heads=0).prices[1:] == (0, 0)


def test_unit_shares_by_hand():
    """Of 576 + 192 + 128 = 896: one of 3 experts, and half of an access for each of 2 heads.
    Gates are priced by them, and shares that add up to more or less than 1 would make the
    price of all be another than λ."""
    np.testing.assert_allclose(small.spec().unit_shares, (192 / 896, 96 / 896, 64 / 896))
    assert small.spec(num_experts=0).unit_shares == (0, 96 / 320, 64 / 320)
    none = small.spec(num_experts=0, num_location_heads=0, num_content_heads=0)
    assert none.unit_shares == (0, 0, 0)
    assert none.highest_price > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target_budget": 0.4}, 0.4 * 896 / 192),
        ({"target_budget": 1.0}, 2.0),  # no more than K
        ({"target_budget": 0.0}, 0.0),
        ({"target_budget": 0.4, "routing": "topk"}, 2.0),
        ({"target_budget": 0.4, "num_experts": 0}, 2.0),
    ],
)
def test_the_experts_a_token_uses_on_average(changes, expected):
    """Room for fewer would drop tokens that the budget allows, room for more would be paid for
    at every step: the whole budget may go to experts."""
    np.testing.assert_allclose(small.spec(**changes).mean_experts, expected, rtol=1e-6)


@given(
    st.integers(0, 8),
    st.sampled_from([(0, 1), (1, 0), (2, 0), (2, 2), (0, 0)]),
    st.sampled_from([8, 12, 64]),
    st.integers(1, 600),
    st.integers(1, 9),
)
@example(3, (1, 1), 8, 6, 2)
@settings(max_examples=30)
def test_the_highest_price_shuts_every_gate(experts, heads, width, hidden, slots):
    """As the cap of the price it is what a budget of nothing ends with; a gate at its bound
    must not stay open by a rounding of 1e-7. Compilers may or may not round the product with a
    share before they subtract it; in double precision it is exact."""
    spec = small.spec(
        num_experts=experts,
        top_k_experts=1,
        num_location_heads=heads[0],
        num_content_heads=heads[1],
        embedding_dim=width,
        expert_hidden_dim=hidden,
        top_k_slots=slots,
    )
    price, shares = np.float32(spec.highest_price), np.array(spec.unit_shares, np.float32)
    exact = np.float64(price) * np.float64(shares)
    for rounded, cost, whole in zip(price * shares, exact, spec.prices, strict=True):
        assert whole == 0 or min(rounded, cost) >= gating.BOUND


def random_layer(changes):
    """Random parameters, and params → (output, state, aux) of one layer on X, jitted."""
    net = MocaLayer(small.spec(**changes))

    def start(layer):
        state = layer.initial_state(X.shape[0])
        return layer(X, jnp.ones(X.shape[:2], bool), state, train=False)

    shapes = jax.eval_shape(lambda key: net.init(key, method=start), jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return params, jax.jit(lambda params: net.apply(params, method=start))


X = jnp.asarray(np.random.default_rng(5).normal(size=(2, 4, 8)), jnp.float32)
ABSENT = {
    "experts": {"num_experts": 0},
    "memory": {"num_location_heads": 0, "num_content_heads": 0},
    "controller": {"use_controller": False},
}


@pytest.mark.parametrize("routing", small.ROUTINGS)
@pytest.mark.parametrize("absent", ABSENT)
def test_parts_can_be_absent(absent, routing):
    """An ablation must leave out the part with its state and its price, and run."""
    params, run = random_layer(ABSENT[absent] | {"routing": routing})
    output, state, aux = run(params)
    assert np.isfinite(output).all()
    assert (aux.experts is None) == (absent == "experts")
    assert (state.memory is None) == (absent == "memory")
    assert (state.controller is None) == (absent == "controller")
    shares = aux.usage.shares()
    for part, owner in (("experts", "experts"), ("writes", "memory"), ("reads", "memory")):
        share = 2 / 3 if part == "experts" else 1.0
        if owner == absent:
            share = 0
        elif routing == "dynamic":
            share = open_share(aux, part)
            assert 0 < share < 1, "no gate is open, or all are"
        np.testing.assert_allclose(shares[part], share, rtol=1e-6)


def open_share(aux, part):
    """Of all gates of a part, those open at 8 tokens, counted one by one."""
    if part == "experts":
        margins = np.asarray(aux.route.expert_logits).reshape(8, 3)
        return sum(min(2, sum(m > 0 for m in token)) for token in margins) / 24
    margins = aux.route.write_margins if part == "writes" else aux.route.read_margins
    return sum(m > 0 for m in np.ravel(margins)) / 16


def test_every_part_adds_to_the_residual_stream():
    """With all outputs at zero a layer is the identity; each part alone changes it."""
    outputs = {
        "controller": "['controller']['input']",
        "memory": "['memory']['output']",
        "experts": "['experts']['contract']",
        "counters": "['counters']['output']",
        "laps": "['memory']['laps']",
    }
    params, run = random_layer({"tape": "loop", "counters": (2, 3)})
    for alive in (None, *outputs):
        silent = [name for part, name in outputs.items() if part != alive]

        def mute(path, leaf, silent=silent):
            return leaf * (not any(name in jax.tree_util.keystr(path) for name in silent))

        output, _, _ = run(jax.tree_util.tree_map_with_path(mute, params))
        assert np.array_equal(output, X) == (alive is None), alive


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("train", "factor"), [(False, 0.5), (True, 3.0), (True, 0.5)])
@pytest.mark.usefixtures("float64")
def test_experts_are_the_dense_mixture_of_what_found_room(train, factor, dynamic):
    """Evaluation drops nothing however small the training room; a dropped choice adds zero.
    Where routing is dynamic logits are margins, and what is not above 0 neither adds nor takes
    room."""
    B, T, D, E, K, F = 2, 7, 4, 3, 2, 5
    rng = np.random.default_rng(0)
    z, logits = rng.normal(size=(B, T, D)), rng.normal(size=(B, T, E))
    mask = rng.random((B, T)) < 0.8
    expand, bias, contract = (rng.normal(size=s) for s in ((E, D, F), (E, F), (E, F, D)))
    net = Experts(E, F, K, factor, dynamic, mean_k=K, exploration=0.0)
    params = {"params": {"expand": expand, "bias": bias, "contract": contract}}
    run = jax.jit(net.apply, static_argnums=4)
    output, aux = run(params, z, logits, mask, train)

    room = 3 if train and factor == 0.5 else T  # ceil(0.5 · 2 · 7 / 3)
    expected, dropped = np.zeros((B, T, D)), 0
    computed = np.zeros((B, T, K), bool)
    for b in range(B):
        used = [0] * E
        for t in np.flatnonzero(mask[b]):
            chosen = np.argsort(-logits[b, t])[:K]
            odds = np.exp(logits[b, t])
            for k, expert in enumerate(chosen):
                gate = odds[expert] / odds.sum()
                if dynamic:
                    gate = (odds[expert] - 1) / (odds[expert] + 1)  # tanh(logit / 2)
                    if logits[b, t, expert] <= 0:
                        continue
                if used[expert] < room:
                    used[expert] += 1
                    computed[b, t, k] = True
                    hidden = np.maximum(z[b, t] @ expand[expert] + bias[expert], 0)
                    expected[b, t] += gate * (hidden @ contract[expert])
                else:
                    dropped += 1
    np.testing.assert_allclose(output, expected, atol=1e-9)
    np.testing.assert_array_equal(aux.computed, computed)
    assert aux.dropped == dropped
    assert (dropped > 0) == (room == 3)


def test_controller_by_hand():
    """Gate biases 0 and 9 give decays 1.1/2 - 0.05 = 0.5 and, clipped, exactly 1: a latch."""
    params = {
        "decay": {"kernel": jnp.zeros((2, 2)), "bias": jnp.array([0.0, 9.0])},
        "input": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)},
    }
    z = jnp.array([[[2.0, 5.0], [4.0, 5.0], [4.0, 5.0]]])
    mask = jnp.array([[True, False, True]])
    start = ControllerState(jnp.array([[8.0, 0.3]]))
    for form in ("scan", "associative"):
        hidden, state = Controller(form=form).apply({"params": params}, z, mask, start)
        # (8 + 2) / 2 = 5, then a masked step, then (5 + 4) / 2.
        np.testing.assert_allclose(hidden[0, :, 0], [5, 5, 4.5], rtol=1e-6)
        np.testing.assert_array_equal(hidden[0, :, 1], jnp.full(3, 0.3))
        np.testing.assert_array_equal(state.hidden, hidden[:, -1])
