"""Gates in a whole model: a closed part does nothing, costs nothing and can reopen.

Axes: B batch, T time, E experts, K active experts.
"""

from functools import lru_cache

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import memory
from tests.nn import small

B, T, E, K = 3, 8, 3, 2
MASK = np.array(
    [[1, 1, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]], bool
)
TOKENS = small.random_tokens(B, T)
NET = small.model()
FORMS = {"scan": ({}, False, 1.0), "parallel": ({"time": "parallel"}, True, 0.5)}
in_float64 = pytest.mark.usefixtures("float64")


def changed(params, name, change):
    """`params` with `change` of every array whose path has the name."""

    def alter(path, leaf):
        return change(leaf) if name in jax.tree_util.keystr(path) else leaf

    return jax.tree_util.tree_map_with_path(alter, params)


def run(params=None, form="scan", net=None, multiplier=small.MULTIPLIER):
    """(fresh state, logits, state', aux) of all tokens."""
    changes, train, hardness = FORMS[form]
    net = small.model(**changes) if net is None else net
    params = small.random_params(net) if params is None else params
    fresh = small.compiled_start(net, B)(params)
    apply = small.compiled(net, train, hardness)
    return fresh, *apply(params, TOKENS, fresh, MASK, np.float64(multiplier))


@in_float64
def test_random_parameters_open_some_gates_of_every_kind_and_close_others():
    """What is tested with them would otherwise be tested of one kind of gates alone."""
    for layer in run()[3].layers:
        margins = (layer.memory.write_margins, layer.memory.read_margins)
        for gates in (layer.experts.computed, *(m > 0 for m in margins)):
            assert 0.1 < np.asarray(gates)[MASK].mean() < 0.95


@in_float64
def test_usage_is_a_naive_count_over_tokens():
    """The multiplier follows usage: what is counted wrongly is steered wrongly. Nothing is
    dropped here, so every gate that is open is engaged, up to K experts."""
    *_, aux = run()
    flops, load, counts = NET.layer.flops, np.zeros(E), np.zeros(K + 1)
    writes = reads = 0
    for layer in aux.layers:
        for b, t in np.argwhere(MASK):
            margins = np.asarray(layer.expert_logits[b, t])
            computed = [e for e in np.argsort(-margins)[:K] if margins[e] > 0]
            load[computed] += 1
            counts[len(computed)] += 1
            writes += sum(m > 0 for m in layer.memory.write_margins[b, t]) / 2
            reads += sum(m > 0 for m in layer.memory.read_margins[b, t]) / 2
    assert (counts > 0).all()
    np.testing.assert_array_equal(aux.usage.load, load)
    np.testing.assert_array_equal(aux.usage.counts, counts)
    np.testing.assert_allclose(aux.usage.experts, load.sum() / E * flops.experts)
    np.testing.assert_allclose(aux.usage.writes, writes * flops.writes)
    np.testing.assert_allclose(aux.usage.reads, reads * flops.reads)
    np.testing.assert_allclose(aux.usage.possible, 2 * MASK.sum() * np.array(flops))


@in_float64
def test_the_expected_share_is_a_naive_mean_over_tokens():
    """The loss pushes on it: parts must weigh by their FLOPs, and experts that a token could
    not use anyway must not count."""
    *_, aux = run()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    share, expected = NET.layer.unit_shares, []
    for layer in aux.layers:
        for b, t in np.argwhere(MASK):
            best = np.sort(np.asarray(layer.expert_logits[b, t]))[-K:]
            spent = share.expert * sigmoid(best).sum()
            spent += share.write * sigmoid(np.asarray(layer.memory.write_margins[b, t])).sum()
            spent += share.read * sigmoid(np.asarray(layer.memory.read_margins[b, t])).sum()
            expected.append(spent)
    np.testing.assert_allclose(aux.expected_share, np.mean(expected), rtol=1e-9)


@in_float64
@pytest.mark.parametrize("form", FORMS)
def test_the_highest_multiplier_leaves_what_is_always_on(form):
    """Embedding, controllers and head: as a model that has no memory and no experts. Nothing
    may be counted as spent; and yet gates must expect to open, or none would ever learn to."""
    params = small.random_params(small.model())
    _, logits, _, aux = run(params, form, multiplier=NET.layer.max_multiplier)
    bare = small.model(num_experts=0, **small.NO_HEADS)
    _, expected, _, _ = run(params, net=bare)
    np.testing.assert_allclose(logits[MASK], expected[MASK], atol=1e-9)
    assert all(share == 0 for share in aux.usage.shares().values())
    np.testing.assert_array_equal(aux.usage.counts, [2 * MASK.sum(), 0, 0])
    assert 0 < aux.expected_share < 0.01
    _, open_logits, _, _ = run(params, form, multiplier=0.0)
    assert np.abs(open_logits - expected)[MASK].max() > 0.1


@in_float64
@pytest.mark.parametrize("form", FORMS)
def test_a_closed_write_leaves_the_memory(form):
    """Slots of a ring to the last bit; those of content heads go on forgetting, all at one
    rate, and take nothing in. Reads go on, of what was there before."""
    params = small.random_params(small.model())
    params = changed(params, "router_write_gate']['bias", lambda bias: bias - 99)
    fresh, _, state, aux = run(params, form)
    for before, after, layer in zip(fresh.layers, state.layers, aux.layers, strict=True):
        held, found = ([memory.content(h.memory) for h in x.memory] for x in (before, after))
        np.testing.assert_array_equal(found[0], held[0])
        shares = found[1] / held[1]
        np.testing.assert_allclose(shares, shares[..., :1, :1] + 0 * shares, rtol=1e-9)
        assert ((shares > 0) & (shares < 1)).all()
        assert layer.usage.writes == 0
        assert layer.usage.reads > 0
    _, _, written, _ = run(form=form)
    assert not np.allclose(memory.content(written.layers[0].memory[0].memory), held[0])


@in_float64
@given(st.floats(0, 60), st.floats(0, 8))
def test_at_most_k_experts_whatever_the_multiplier(multiplier, bias):
    """K is a ceiling of cost and of memory, which a low multiplier must not lift."""
    params = changed(
        small.random_params(NET), "router_expert']['bias", lambda b: b - b + np.float64(bias)
    )
    *_, aux = run(params, multiplier=multiplier)
    for layer in aux.layers:
        open_gates = np.sum(np.asarray(layer.expert_logits) > 0, axis=-1)
        computed = np.sum(layer.experts.computed, axis=-1)
        np.testing.assert_array_equal(computed, np.minimum(open_gates, K) * MASK)
    assert aux.usage.experts <= K / E * aux.usage.possible.experts


TRYING = {"heads": (), "exploration": 0.5}


@lru_cache
def trained(exploration):
    """(params, key) → (gradient of a random loss on logits, (logits, aux)) of training a layer
    of controller and experts, jitted."""
    net = small.model(1, **TRYING | {"exploration": exploration})

    def loss(params, key):
        settings = {"train": True, "multiplier": small.MULTIPLIER, "rngs": {"router": key}}
        logits, _, aux = net.apply(params, TOKENS, None, MASK, **settings)
        target = np.random.default_rng(3).normal(size=logits.shape)
        return jnp.sum(logits * jnp.asarray(target, logits.dtype)), (logits, aux)

    return jax.jit(jax.grad(loss, has_aux=True), compiler_options=small.QUICK)


@in_float64
def test_exploring_a_closed_expert_changes_no_output():
    """Training would otherwise be noisy, and another model than evaluation. Experts have room
    for every token here."""
    params = small.random_params(small.model(1, **TRYING))
    _, (without, _) = trained(0.0)(params, jax.random.key(0))
    tried = []
    for seed in range(3):
        _, (logits, aux) = trained(0.5)(params, jax.random.key(seed))
        np.testing.assert_allclose(logits, without, atol=1e-12)
        (layer,) = aux.layers
        computed = np.asarray(layer.experts.computed)
        margins = np.take_along_axis(layer.expert_logits, layer.experts.indices, -1)
        assert (computed >= (margins > 0) & MASK[..., None]).all()
        assert not (computed & ~MASK[..., None]).any()
        assert not (computed[..., 1:] & (margins[..., 1:] <= 0)).any(), "only the best"
        tried.append(computed[..., 0] & (margins[..., 0] <= 0))
    closed = (margins[..., 0] <= 0) & MASK
    assert closed.sum() >= 2, "nothing to try"
    assert any(t.any() for t in tried)
    assert len({t.tobytes() for t in tried}) > 1, "the same tokens, whatever the key"


@in_float64
def test_a_closed_expert_receives_a_gradient_where_it_is_explored():
    """Without being tried its gate has no gradient and never opens again."""
    params = small.random_params(small.model(1, **TRYING))
    params = changed(params, "router_expert']['bias", lambda bias: bias - 3)
    gradients = {}
    for exploration in (0.0, 0.5):
        gradient, (_, aux) = trained(exploration)(params, jax.random.key(0))
        assert (np.asarray(aux.layers[0].expert_logits) < 0).all()
        layer = gradient["params"]["layers_0"]
        gradients[exploration] = np.asarray(layer["projections"]["router_expert"]["bias"])
        # With a weight of 0 it is not yet part of the model that is trained.
        assert (layer["experts"]["each"]["expand"]["kernel"] == 0).all()
    np.testing.assert_array_equal(gradients[0.0], np.zeros(E))
    assert np.abs(gradients[0.5]).max() > 1e-3


@in_float64
@pytest.mark.parametrize("capacity_factor", [0.1, 3.0])
def test_training_counts_what_evaluation_spends(capacity_factor):
    """The multiplier is moved by it: a choice that found no room counts, else the usage of
    evaluation lies above the target; a token that only tries an expert does not."""
    changes = TRYING | {"exploration": 0.5, "capacity_factor": capacity_factor}
    net = small.model(1, **changes)
    params = small.random_params(net)
    settings = {"multiplier": small.MULTIPLIER, "rngs": {"router": jax.random.key(0)}}
    _, _, now = net.apply(params, TOKENS, None, MASK, train=True, **settings)
    _, _, later = net.apply(params, TOKENS, None, MASK, **settings)
    assert (now.dropped > 0) == (capacity_factor == 0.1)
    if not now.dropped:
        assert now.layers[0].experts.computed.sum() > now.usage.load.sum(), "nothing was tried"
    np.testing.assert_array_equal(now.usage.load, later.usage.load)
    np.testing.assert_array_equal(now.usage.counts, later.usage.counts)


def shape_of(train, rngs=None, **changes):
    """Traces a model on all tokens."""
    net = small.model(1, **TRYING | changes)
    with jax.enable_x64(False):
        params = jax.eval_shape(net.init, jax.random.key(0), TOKENS)
        apply = lambda params: net.apply(params, TOKENS, train=train, rngs=rngs)
        return jax.eval_shape(apply, params), params


def test_only_training_that_tries_needs_a_key():
    """Evaluation that is random gives other answers each time; an ablation without dynamic
    routing, or without trying, would fail for want of randomness that it never uses."""
    shape_of(train=False)
    shape_of(train=True, exploration=0.0)
    shape_of(train=True, routing="topk")
    shape_of(train=True, rngs={"router": jax.random.key(0)})
    with pytest.raises(flax.errors.InvalidRngError):
        shape_of(train=True)


@in_float64
def test_fixed_routing_ignores_the_multiplier():
    """Its compute is given by K."""
    net = small.model(1, **TRYING | {"routing": "topk"})
    params = small.random_params(net)
    (_, free, _, _), (_, high, _, _) = (run(params, net=net, multiplier=x) for x in (0, 50))
    np.testing.assert_array_equal(free, high)
