"""What gates do to a whole model: what is shut does nothing, costs nothing and can come back.

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


def priced(params, price):
    return changed(params, "price", lambda _: np.float64(price))


def run(params=None, form="scan", net=None):
    """(fresh state, logits, state', aux) of all tokens."""
    changes, train, rounding = FORMS[form]
    net = small.model(**changes) if net is None else net
    params = small.random_params(net) if params is None else params
    fresh = small.compiled_start(net, B)(params)
    return fresh, *small.compiled(net, train, rounding)(params, TOKENS, fresh, MASK)


@in_float64
def test_random_parameters_open_some_gates_of_every_kind_and_shut_others():
    """What is tested with them would otherwise be tested of one kind of gates alone."""
    for layer in run()[3].layers:
        margins = (layer.route.write_margins, layer.route.read_margins)
        for gates in (layer.experts.computed, *(m > 0 for m in margins)):
            assert 0.1 < np.asarray(gates)[MASK].mean() < 0.95


@in_float64
def test_usage_is_a_naive_count_over_tokens():
    """The price follows usage: what is counted wrongly is steered wrongly. Nothing is dropped
    here, so every gate that is open is engaged, up to K experts."""
    *_, aux = run()
    prices, load, counts = NET.layer.prices, np.zeros(E), np.zeros(K + 1)
    writes = reads = 0
    for layer in aux.layers:
        for b, t in np.argwhere(MASK):
            margins = np.asarray(layer.route.expert_logits[b, t])
            computed = [e for e in np.argsort(-margins)[:K] if margins[e] > 0]
            load[computed] += 1
            counts[len(computed)] += 1
            writes += sum(m > 0 for m in layer.route.write_margins[b, t]) / 2
            reads += sum(m > 0 for m in layer.route.read_margins[b, t]) / 2
    assert (counts > 0).all()
    np.testing.assert_array_equal(aux.usage.load, load)
    np.testing.assert_array_equal(aux.usage.counts, counts)
    np.testing.assert_allclose(aux.usage.experts, load.sum() / E * prices.experts)
    np.testing.assert_allclose(aux.usage.writes, writes * prices.writes)
    np.testing.assert_allclose(aux.usage.reads, reads * prices.reads)
    np.testing.assert_allclose(aux.usage.possible, 2 * MASK.sum() * np.array(prices))


@in_float64
def test_the_expected_share_is_a_naive_mean_over_tokens():
    """The loss pushes on it: parts must weigh by their prices, and experts that a token could
    not use anyway must not count."""
    *_, aux = run()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    share, expected = NET.layer.unit_shares, []
    for layer in aux.layers:
        for b, t in np.argwhere(MASK):
            best = np.sort(np.asarray(layer.route.expert_logits[b, t]))[-K:]
            spent = share.experts * sigmoid(best).sum()
            spent += share.writes * sigmoid(np.asarray(layer.route.write_margins[b, t])).sum()
            spent += share.reads * sigmoid(np.asarray(layer.route.read_margins[b, t])).sum()
            expected.append(spent)
    np.testing.assert_allclose(aux.expected_share, np.mean(expected), rtol=1e-9)


@in_float64
@pytest.mark.parametrize("form", FORMS)
def test_the_highest_price_leaves_what_is_always_on(form):
    """Embedding, controllers and head: as a model that has no memory and no experts. Nothing
    may be counted as spent; and yet gates must expect to open, or none would ever learn to."""
    params = priced(small.random_params(small.model()), NET.layer.highest_price)
    _, logits, _, aux = run(params, form)
    bare = small.model(num_experts=0, num_location_heads=0, num_content_heads=0)
    _, expected, _, _ = run(params, net=bare)
    np.testing.assert_allclose(logits[MASK], expected[MASK], atol=1e-9)
    assert all(share == 0 for share in aux.usage.shares().values())
    np.testing.assert_array_equal(aux.usage.counts, [2 * MASK.sum(), 0, 0])
    assert 0 < aux.expected_share < 0.01
    _, open_logits, _, _ = run(priced(params, 0.0), form)
    assert np.abs(open_logits - expected)[MASK].max() > 0.1


@in_float64
@pytest.mark.parametrize("form", FORMS)
def test_a_shut_write_leaves_the_memory(form):
    """Slots of location heads to the last bit; those of content heads go on forgetting at
    their own rate and take nothing in. Reads go on, of what was there before."""
    params = small.random_params(small.model())
    params = changed(params, "write_gate']['bias", lambda bias: bias - 99)
    fresh, _, state, aux = run(params, form)
    for before, after, layer in zip(fresh.layers, state.layers, aux.layers, strict=True):
        held, found = (memory.content(x.memory.slots) for x in (before, after))
        np.testing.assert_array_equal(found[:, 0], held[:, 0])
        kept = np.exp(np.sum(layer.route.log_retention[..., 1], axis=1))
        np.testing.assert_allclose(found[:, 1], held[:, 1] * kept[:, None, None], atol=1e-12)
        assert layer.usage.writes == 0
        assert layer.usage.reads > 0
    _, _, written, _ = run(form=form)
    assert not np.allclose(memory.content(written.layers[0].memory.slots)[:, 0], held[:, 0])


@in_float64
@given(st.floats(0, 60), st.floats(0, 8))
def test_at_most_k_experts_whatever_the_price(price, bias):
    """K is a ceiling of cost and of memory, which a low price must not lift."""
    params = changed(
        small.random_params(NET), "expert']['bias", lambda b: b - b + np.float64(bias)
    )
    *_, aux = run(priced(params, price))
    for layer in aux.layers:
        open_gates = np.sum(np.asarray(layer.route.expert_logits) > 0, axis=-1)
        computed = np.sum(layer.experts.computed, axis=-1)
        np.testing.assert_array_equal(computed, np.minimum(open_gates, K) * MASK)
    assert aux.usage.experts <= K / E * aux.usage.possible.experts


TRYING = {"num_location_heads": 0, "num_content_heads": 0, "exploration": 0.5}


@lru_cache
def trained(exploration):
    """(params, key) → (gradient of a random loss on logits, (logits, aux)) of training a layer
    of controller and experts, jitted."""
    net = small.model(1, **TRYING | {"exploration": exploration})

    def loss(params, key):
        logits, _, aux = net.apply(params, TOKENS, None, MASK, train=True, rngs={"router": key})
        target = np.random.default_rng(3).normal(size=logits.shape)
        return jnp.sum(logits * jnp.asarray(target, logits.dtype)), (logits, aux)

    return jax.jit(jax.grad(loss, has_aux=True), compiler_options=small.QUICK)


@in_float64
def test_trying_a_shut_expert_changes_no_output():
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
        margins = np.take_along_axis(layer.route.expert_logits, layer.experts.indices, -1)
        assert (computed >= (margins > 0) & MASK[..., None]).all()
        assert not (computed & ~MASK[..., None]).any()
        assert not (computed[..., 1:] & (margins[..., 1:] <= 0)).any(), "only the best"
        tried.append(computed[..., 0] & (margins[..., 0] <= 0))
    shut = (margins[..., 0] <= 0) & MASK
    assert shut.sum() >= 2, "nothing to try"
    assert any(t.any() for t in tried)
    assert len({t.tobytes() for t in tried}) > 1, "the same tokens, whatever the key"


@in_float64
def test_a_shut_expert_learns_what_it_would_be_worth():
    """Without being tried its gate has no gradient and never opens again."""
    params = small.random_params(small.model(1, **TRYING))
    params = changed(params, "expert']['bias", lambda bias: bias - 3)
    gradients = {}
    for exploration in (0.0, 0.5):
        gradient, (_, aux) = trained(exploration)(params, jax.random.key(0))
        assert (np.asarray(aux.layers[0].route.expert_logits) < 0).all()
        layer = gradient["params"]["layers_0"]
        gradients[exploration] = np.asarray(layer["router"]["expert"]["bias"])
        # With a weight of 0 it is not yet part of the model that is trained.
        assert (layer["experts"]["expand"] == 0).all()
    np.testing.assert_array_equal(gradients[0.0], np.zeros(E))
    assert np.abs(gradients[0.5]).max() > 1e-3


@in_float64
def test_the_tried_tokens_are_counted_as_spent():
    """What is computed costs, whether or not it was worth it."""
    params = small.random_params(small.model(1, **TRYING))
    params = changed(params, "expert']['bias", lambda bias: bias - 3)
    _, (_, aux) = trained(0.5)(params, jax.random.key(0))
    tried = np.asarray(aux.layers[0].experts.computed).sum()
    assert 0 < tried == aux.usage.load.sum() == aux.usage.counts[1]


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


def test_only_dynamic_routing_has_a_price():
    """One for all layers; a parameter that nothing uses would be counted and saved."""
    _, params = shape_of(train=False)
    assert params["params"]["price"].shape == ()
    _, params = shape_of(train=False, routing="topk")
    assert "price" not in params["params"]


def test_compute_is_free_at_first():
    """A model that starts with a price has shut what it has not yet learned to use."""
    net = small.model(1, **TRYING)
    params = jax.jit(net.init, compiler_options=small.QUICK)(jax.random.key(0), TOKENS)
    assert params["params"]["price"] == 0
