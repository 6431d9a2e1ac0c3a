"""A layer and its parts. Axes: B batch, T time, D width, E experts, K active experts."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocanet_jax.core import gating
from mocanet_jax.nn.config import AutomataConfig
from mocanet_jax.nn.controller import Controller, ControllerState
from mocanet_jax.nn.experts import Experts, GatedExpert, MlpExpert, expert_flops
from mocanet_jax.nn.heads import Content, Loop, PriorityQueue, Ring
from mocanet_jax.nn.layer import MocaLayer
from tests.nn import small


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be at least 1, not 0"),
        ({"num_slots": 0}, "memory.num_slots must be at least 1, not 0"),
        ({"counters": (3, 1)}, "controller.counters must have sizes from 2 on, not (3, 1)"),
        ({"counters": (2.5,)}, "controller.counters must have sizes from 2 on, not (2.5,)"),
        ({"capacity_factor": 0.0}, "experts.capacity_factor must be above 0, not 0.0"),
        ({"num_experts": -1}, "experts.count must be at least 1, not -1"),
        (
            {"routing": "best"},
            "budget.routing must be one of dynamic, topk, random, not 'best'",
        ),
        ({"target": -0.1}, "budget.target must be in [0, 1], not -0.1"),
        ({"target": 1.5}, "budget.target must be in [0, 1], not 1.5"),
        ({"exploration": 2.0}, "experts.exploration must be in [0, 1], not 2.0"),
        ({"exploration": float("nan")}, "experts.exploration must be in [0, 1], not nan"),
        ({"groups": 2}, "experts.groups must divide experts.count 3, or be 0 for none, not 2"),
        (
            {"groups": -1},
            "experts.groups must divide experts.count 3, or be 0 for none, not -1",
        ),
        ({"time": "fast"}, 'time must be "scan" or "parallel", not \'fast\''),
        ({"dtype": "int8"}, 'dtype must be "float32" or "bfloat16", not \'int8\''),
        ({"heads": (Ring(3),)}, "width 8 is not divisible by 3 memory heads"),
        (
            {"heads": (Ring(0),)},
            "memory.heads: ring_head must be a Head with a count of at least 1",
        ),
        (
            {"active_slots": 0},
            "memory.active_slots must be between 1 and memory.num_slots 9, not 0",
        ),
        (
            {"active_slots": 10},
            "memory.active_slots must be between 1 and memory.num_slots 9, not 10",
        ),
        ({"top_k": 0}, "experts.top_k must be between 1 and experts.count 3, not 0"),
        ({"top_k": 4}, "experts.top_k must be between 1 and experts.count 3, not 4"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    """Otherwise they would fail far away, or run as another model than was configured."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small.layer(**changes)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda: Content(1, temperature=-1.0), "temperature must be above 0, not -1.0"),
        (lambda: Ring(1, sharpness=float("nan")), "sharpness must be above 0, not nan"),
        (lambda: PriorityQueue(1, sharpness=0.0), "sharpness must be above 0, not 0.0"),
        (lambda: Loop(1, max_wraps=0), "max_wraps must be at least 1, not 0"),
    ],
)
def test_impossible_heads_are_refused(head, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        head()


def test_the_defaults_are_a_layer():
    """What a newcomer types first."""
    x = jnp.zeros((1, 2, 128))
    shapes = jax.eval_shape(MocaLayer().init, jax.random.key(0), x)["params"]
    assert {"controller", "memory", "experts", "projections"} <= shapes.keys()


def test_flops_by_hand():
    """3 experts of 4 · 8 · 6; accesses of 2 · 8²; for a write two passes over 2 rows of 8."""
    assert small.layer().flops == (3 * 192.0, 128 + 64.0, 128.0)
    assert small.layer(num_experts=0).flops.experts == 0
    assert small.layer(**small.NO_HEADS).flops[1:] == (0, 0)


@pytest.mark.parametrize(
    ("expert", "expected"), [(MlpExpert(6), 4 * 8 * 6), (GatedExpert(6), 6 * 8 * 6)]
)
def test_flops_of_an_expert_are_those_of_its_matrices(expert, expected):
    assert expert_flops(expert, 8) == expected


def test_unit_shares_by_hand():
    """Of 576 + 192 + 128 = 896: one of 3 experts, and half of an access for each of 2 heads.
    Thresholds are λ times these, and shares that add up to more or less than 1 would make that
    of everything another than λ."""
    np.testing.assert_allclose(small.layer().unit_shares, (192 / 896, 96 / 896, 64 / 896))
    assert small.layer(num_experts=0).unit_shares == (0, 96 / 320, 64 / 320)
    none = small.layer(num_experts=0, **small.NO_HEADS)
    assert none.unit_shares == (0, 0, 0)
    assert none.max_multiplier > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": 0.4}, 0.4 * 896 / 192),
        ({"target": 1.0}, 2.0),  # no more than K
        ({"target": 0.0}, 0.0),
        ({"target": 0.4, "routing": "topk"}, 2.0),
    ],
)
def test_the_experts_a_token_uses_on_average(changes, expected):
    """Room for fewer would drop tokens that the budget allows, room for more would be paid for
    at every step: the whole budget may go to experts."""
    np.testing.assert_allclose(small.layer(**changes).mean_experts, expected, rtol=1e-6)


@given(
    st.integers(0, 8),
    st.integers(0, 4),
    st.sampled_from([8, 12, 64]),
    st.integers(1, 600),
    st.integers(1, 9),
)
@example(3, 2, 8, 6, 2)
@settings(max_examples=30)
def test_the_highest_multiplier_closes_every_gate(experts, heads, width, hidden, slots):
    """As the cap of λ it is what a budget of nothing ends with; a gate at its bound
    must not stay open by a rounding of 1e-7. Compilers may or may not round the product with a
    share before they subtract it; in double precision it is exact."""
    heads = 0 if heads == 3 else heads  # divides every width
    layer = small.layer(
        num_experts=experts,
        top_k=1,
        heads=(Ring(heads),) if heads else (),
        width=width,
        hidden_dim=hidden,
        active_slots=slots,
    )
    multiplier = np.float32(layer.max_multiplier)
    shares = np.array(layer.unit_shares, np.float32)
    exact = np.float64(multiplier) * np.float64(shares)
    for rounded, threshold, whole in zip(multiplier * shares, exact, layer.flops, strict=True):
        assert whole == 0 or min(rounded, threshold) >= gating.BOUND


def random_layer(changes):
    """Random parameters, and params → (output, state, aux) of one layer on X, jitted."""
    net = MocaLayer(small.layer(**changes))

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
    "memory": small.NO_HEADS,
    "controller": {"controller": False},
}


@pytest.mark.parametrize("routing", small.ROUTINGS)
@pytest.mark.parametrize("absent", ABSENT)
def test_parts_can_be_absent(absent, routing):
    """An ablation must leave out the part with its state and its FLOPs, and run."""
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
        margins = np.asarray(aux.expert_logits).reshape(8, 3)
        return sum(min(2, sum(m > 0 for m in token)) for token in margins) / 24
    margins = aux.memory.write_margins if part == "writes" else aux.memory.read_margins
    return sum(m > 0 for m in np.ravel(margins)) / 16


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"count": 0}, "controller.automata.count must be at least 1, not 0"),
        ({"states": 1}, "controller.automata.states must be at least 2, not 1"),
        ({"maps": 2.5}, "controller.automata.maps must be at least 1, not 2.5"),
    ],
)
def test_impossible_automata_are_refused(sizes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        AutomataConfig(**sizes)


AUTOMATA = {"automata": AutomataConfig(2, 3, 4)}


def test_every_part_adds_to_the_residual_stream():
    """With all outputs at zero a layer is the identity; each part alone changes it."""
    outputs = {
        "controller": "['controller']['input']",
        "memory": "['memory']['output']",
        "experts": "['contract']['kernel']",
        "counters": "['counters']['output']",
        "automata": "['automata']['output']",
        "wraps": "['memory']['loop_head']['wraps']",
    }
    params, run = random_layer({"heads": (Loop(1), Content(1)), "counters": (2, 3)} | AUTOMATA)
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
    routing = "dynamic" if dynamic else "topk"
    net = Experts(MlpExpert(F), E, K, routing, K, factor, exploration=0.0)
    each = {"expand": {"kernel": expand, "bias": bias}, "contract": {"kernel": contract}}
    params = {"params": {"each": each}}
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


@pytest.mark.parametrize("opened", [0.05, 0.9])
@pytest.mark.parametrize("members", [None, 2])
def test_evaluation_branches_on_room_and_drops_nothing(opened, members):
    """Few open gates find room, many do not; either way the output is that of all experts, and
    in an ensemble, under vmap, only one of both is computed."""
    B, T, D, E, F = 2, 20, 4, 4, 5
    rng = np.random.default_rng(0)
    shape = (B, T) if members is None else (members, B, T)
    z = jnp.asarray(rng.normal(size=(*shape, D)), jnp.float32)
    open_gates = rng.random((*shape, E)) < opened
    logits = jnp.asarray(np.where(open_gates, 1.0, -1.0), jnp.float32)
    mask = jnp.ones((B, T), bool)

    def evaluated(factor):
        net = Experts(MlpExpert(F), E, 2, "dynamic", 0.4, factor, exploration=0.0)
        init = lambda z, x: net.init(jax.random.key(0), z, x, mask, False)
        apply = lambda p, z, x: net.apply(p, z, x, mask, False)
        if members is not None:
            init, apply = jax.vmap(init), jax.vmap(apply)
        params = init(z, logits)
        return apply(params, z, logits), str(jax.make_jaxpr(apply)(params, z, logits))

    (found, aux), program = evaluated(1.25)
    (whole, _), without_room = evaluated(100.0)
    np.testing.assert_allclose(found, whole, atol=1e-6)
    assert (np.asarray(aux.dropped) == 0).all()
    assert " cond[" in program
    assert " cond[" not in without_room


def test_random_routing_ignores_the_logits_and_keeps_its_share():
    """A control: in evaluation it always draws the same, in training by its key."""
    B, T, D, E = 4, 256, 3, 4
    net = Experts(MlpExpert(2), E, E, "random", 0.5 * E, 3.0, exploration=0.0)
    z, mask = jnp.ones((B, T, D)), jnp.ones((B, T), bool)
    logits = jax.random.normal(jax.random.key(0), (B, T, E))
    params = net.init(jax.random.key(1), z, logits, mask, False)

    def chosen(logits, train=False, seed=0):
        rngs = {"router": jax.random.key(seed)}
        _, aux = net.apply(params, z, logits, mask, train, rngs=rngs)
        used = jax.nn.one_hot(aux.indices, E) * aux.computed[..., None]
        return np.asarray(used.sum(axis=-2))

    np.testing.assert_array_equal(chosen(logits), chosen(-logits, seed=1))
    assert (chosen(logits, True, 1) != chosen(logits, True, 2)).any()
    for used in (chosen(logits), chosen(logits, True, 1)):
        np.testing.assert_allclose(used.mean(axis=(0, 1)), 0.5, atol=0.06)


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
        hidden, state = Controller(2, form=form).apply({"params": params}, z, mask, start)
        # (8 + 2) / 2 = 5, then a masked step, then (5 + 4) / 2.
        np.testing.assert_allclose(hidden[0, :, 0], [5, 5, 4.5], rtol=1e-6)
        np.testing.assert_array_equal(hidden[0, :, 1], jnp.full(3, 0.3))
        np.testing.assert_array_equal(state.hidden, hidden[:, -1])
