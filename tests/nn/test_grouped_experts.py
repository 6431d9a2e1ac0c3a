"""Experts in groups, in a layer and in a model: chosen as by all logits, counted right, and
with many experts no token left out.

Axes: B batch, T time, D width, E experts, G groups, N experts of a group, K active experts.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import gating
from mocanet_jax.core.budget import Thresholds
from mocanet_jax.core.hierarchy import GroupedLogits
from mocanet_jax.nn.experts import MANY, Experts, MlpExpert
from mocanet_jax.nn.router import Groups, Router
from mocanet_jax.nn.summary import component_costs
from tests.nn import small

B, T, D, E, G, N, K = 3, 8, 8, 12, 4, 3, 2
GROUPED = {"num_experts": E, "groups": G, "top_k": K}
TOKENS = small.random_tokens(B, T)
MASK = np.arange(T) < np.array([[8], [6], [7]])
in_float64 = pytest.mark.usefixtures("float64")


def evaluated(net, params, multiplier):
    """Auxiliary outputs for all tokens."""
    state = small.compiled_start(net, B)(params)
    run = small.compiled(net, False, 1.0)
    return run(params, TOKENS, state, MASK, np.float64(multiplier))[2]


@in_float64
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_router_scores_the_experts_of_the_best_groups_alone(dynamic):
    """As if it had scored all experts and taken those of K groups, in value and gradient."""
    rng = np.random.default_rng(0)
    z, of_groups = jnp.asarray(rng.normal(size=(B, T, D))), rng.normal(size=(B, T, G))
    within = {"kernel": jnp.asarray(rng.normal(size=(G, D, N)))}
    if dynamic:
        within["bias"] = jnp.asarray(rng.normal(size=G * N))
    router = Router(E, (), dynamic, Groups(G, K))
    target = rng.normal(size=(B, T, K, N))

    def fast(z, within):
        params = {"params": {"within": within}}
        logits = {"expert": jnp.asarray(of_groups)}
        return router.apply(params, logits, MASK, Thresholds(0.4, 0, 0), z).expert_logits

    def naive(z, within):
        logits = jnp.einsum("btd,gdn->btgn", z, within["kernel"])
        logits += within.get("bias", jnp.zeros(G * N)).reshape(1, 1, G, N)
        best = np.argsort(-of_groups, axis=-1)[..., :K, None]
        logits = jnp.take_along_axis(logits, best, axis=2)
        return gating.margin(logits, 0.4) if dynamic else logits

    def results(form):
        """Logits and gradients."""

        def loss(z, within):
            logits = form(z, within)
            return jnp.sum(logits * target), logits

        found = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(z, within)
        return jax.tree.leaves(found)

    pairs = zip(results(lambda *x: fast(*x).experts), results(naive), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_cost_of_routing_grows_with_the_root_of_the_experts():
    """2 D (G + K N), and not 2 D E."""
    flops = lambda count, groups: Router(count, (), False, groups).flops(D)
    assert flops(256, Groups(16, 1)) == 2 * D * (16 + 16)
    assert flops(256, Groups(16, 2)) == 2 * D * (16 + 2 * 16)
    assert flops(256, None) == 2 * D * 256


@in_float64
@pytest.mark.parametrize("routing", small.ROUTINGS)
def test_a_model_counts_what_grouped_experts_compute(routing):
    """Usage moves the multiplier: load, and the share of tokens by their number of experts."""
    net = small.model(1, routing=routing, **GROUPED)
    params = small.random_params(net)
    aux = evaluated(net, params, 1.0)
    (layer,) = aux.layers
    load, counts = np.zeros(E), np.zeros(K + 1)
    logits = layer.expert_logits
    for b, t in np.argwhere(MASK):
        groups = np.asarray(logits.groups[b, t])
        np.testing.assert_array_equal(logits.chosen[b, t], np.argsort(-groups)[:K])
        odds = lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        of_experts = np.asarray(logits.experts[b, t])
        chosen = np.asarray(logits.chosen[b, t])
        scores = np.minimum(groups[chosen][:, None], of_experts)
        if routing == "topk":
            scores = odds(groups)[chosen][:, None] * odds(of_experts)
        used = [
            chosen[place // N] * N + place % N
            for place in np.argsort(-scores.ravel())[:K]
            if scores.ravel()[place] > 0
        ]
        load[used] += 1
        counts[len(used)] += 1
    np.testing.assert_array_equal(aux.usage.load, load)
    np.testing.assert_array_equal(aux.usage.counts, counts)
    assert (load > 0).sum() > 2
    share = load.sum() / MASK.sum() / E
    np.testing.assert_allclose(aux.usage.shares()["experts"], share)


@in_float64
def test_the_highest_multiplier_closes_groups_and_experts():
    """The price holds at both levels; and the expected share falls with it."""
    net = small.model(1, **GROUPED)
    params = small.random_params(net)
    shares = []
    for multiplier in (0.0, net.layer.max_multiplier):
        aux = evaluated(net, params, multiplier)
        shares.append((aux.usage.shares()["experts"], aux.expected_share))
    assert shares[0][0] > 0
    assert shares[1][0] == 0
    assert shares[1][1] < 0.1 * shares[0][1]


def test_without_groups_nothing_is_added():
    """The model is the one it was before there were groups."""
    params = lambda **changes: jax.eval_shape(
        small.model(1, **changes).init, jax.random.key(0), TOKENS
    )["params"]["layers_0"]
    flat, grouped = params(num_experts=E), params(**GROUPED)
    assert "router" not in flat
    assert grouped["router"]["within"]["kernel"].shape == (G, D, N)
    assert flat["projections"]["router_expert"]["kernel"].shape == (D, E)
    assert grouped["projections"]["router_expert"]["kernel"].shape == (D, G)
    at_random = params(routing="random", **GROUPED)
    assert "router" not in at_random, "a router that is not asked"


def test_parameters_of_both_levels_are_the_routers():
    """In the table of costs, which adds up to the whole model."""
    net = small.model(1, routing="topk", **(GROUPED | small.NO_HEADS))
    params = jax.eval_shape(net.init, jax.random.key(0), TOKENS)["params"]
    costs = component_costs(net, params)
    assert costs["router"].parameters == D * G + G * D * N
    assert costs["router"].flops == 2 * D * (G + K * N)
    assert sum(c.parameters for c in costs.values()) == sum(
        leaf.size for leaf in jax.tree.leaves(params)
    )


def many_experts(pool=1, factor=1.25, batch=4, favoured=0.0):
    """MANY experts and random inputs. favoured: how much the first is preferred."""
    net = Experts(MlpExpert(5), MANY, 1, "topk", 1, factor, exploration=0.0, pool=pool)
    keys = jax.random.split(jax.random.key(0), 2)
    z = jax.random.normal(keys[0], (batch, 16, D))
    logits = jax.random.normal(keys[1], (batch, 16, MANY)).at[..., 0].add(favoured)
    mask = jnp.ones((batch, 16), bool).at[0, 9:].set(False)
    params = net.init(jax.random.key(1), z, logits, mask, False)
    return net, params, (z, logits, mask)


@pytest.mark.parametrize("favoured", [0.0, 9.0])
def test_evaluation_of_many_experts_drops_nothing(favoured):
    """Round by round it gives what all experts give for all tokens, also where all tokens
    choose one expert."""
    net, params, (z, logits, mask) = many_experts(favoured=favoured)
    groups, experts = logits[..., :4], logits[..., 4:12].at[..., 0].add(favoured)
    chosen = jnp.argmax(groups, axis=-1)[..., None]
    inputs = z, GroupedLogits(groups, chosen, experts[..., None, :]), mask
    whole = net.clone(capacity_factor=1000.0)
    run = lambda net: net.apply(params, *inputs, False)
    (found, aux), (expected, _) = run(net), run(whole)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert aux.dropped == 0
    program = lambda net: str(jax.make_jaxpr(partial(net.apply, train=False))(params, *inputs))
    assert " while[" in program(net)
    assert " while[" not in program(whole)


def test_a_pool_shares_room_in_time_order():
    """Room for 2 · 16 / 32 tokens is 1 of each sequence, and 2 of a pool of 2: the first steps
    of both sequences find it, and the other pool is not affected."""
    for pool, steps in ((1, 1), (2, 1), (4, 1)):
        net, params, inputs = many_experts(pool, factor=2.0, favoured=99.0)
        _, aux = net.apply(params, *inputs, True)
        kept = np.asarray(aux.computed[..., 0])
        expected = np.zeros((4, 16), bool)
        expected[:, :steps] = True
        np.testing.assert_array_equal(kept, expected)
        assert aux.dropped == 4 * 16 - 7 - 4


def test_a_pool_gives_its_room_to_the_sequence_that_needs_it():
    """Otherwise half of its tokens would be dropped while the other's room is empty."""
    net, params, (z, logits, mask) = many_experts(pool=2, factor=2.0)
    logits = jnp.full_like(logits, -9.0)
    steps = jnp.arange(16)
    for pair in (0, 2):
        logits = logits.at[pair, steps, steps // 2].set(9.0)  # two tokens each
        logits = logits.at[pair + 1, steps, 8 + steps].set(9.0)  # a token each
    mask = jnp.ones_like(mask)
    output, aux = net.apply(params, z, logits, mask, True)
    assert aux.dropped == 0
    alone = net.clone(pool=1)
    assert alone.apply(params, z, logits, mask, True)[1].dropped == 16
    evaluated, _ = net.apply(params, z, logits, mask, False)
    np.testing.assert_allclose(output, evaluated, atol=1e-6)
