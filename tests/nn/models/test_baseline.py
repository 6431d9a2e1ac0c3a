"""Baselines: the contract that all keep.

Axes: B batch, T time.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn import summary
from mocanet_jax.nn.models.baseline import Baseline
from mocanet_jax.nn.models.deltanet import DeltaNetSpec
from mocanet_jax.nn.models.lstm import LstmSpec
from mocanet_jax.nn.models.transformer import TransformerSpec
from tests.nn import small

B, T = 3, 8
SIZES = {"num_layers": 2, "width": 8, "mlp_dim": 6, "tied_head": True, "dropout": 0.0}
DELTA = SIZES | {"num_heads": 2, "key_dim": 3, "value_dim": 5, "chunk_size": 4}
SPECS = {
    "lstm": LstmSpec(**SIZES | {"mlp_dim": 0}),
    "transformer": TransformerSpec(**SIZES | {"tied_head": False}, num_heads=2, context=T),
    "deltanet": DeltaNetSpec(**DELTA, form="chunked"),
    "recurrent deltanet": DeltaNetSpec(**DELTA, form="recurrent"),
}
KINDS = ("lstm", "transformer", "deltanet")
NETS = {name: Baseline(small.VOCABULARY, SPECS[name]) for name in KINDS}
PADDING = np.array(
    [
        [0, 0, 0, 0, 1, 1, 1, 1],  # left
        [1, 1, 0, 0, 1, 0, 0, 1],  # middle
        [1, 1, 1, 1, 0, 0, 0, 0],  # right
    ],
    bool,
)
each = pytest.mark.parametrize("name", KINDS)


def runner(name):
    """A fresh state, and (tokens, state, mask) → (logits, state')."""
    net = NETS[name]
    params = small.random_params(net)
    run = small.compiled(net, False, 1.0)

    def apply(tokens, state, mask=None):
        mask = jnp.ones(tokens.shape, bool) if mask is None else jnp.asarray(mask)
        return run(params, tokens, state, mask)[:2]

    return small.compiled_start(net, len(PADDING))(params), apply


@each
@pytest.mark.usefixtures("float64")
def test_a_token_changes_no_output_before_it(name):
    """Nor any of another sequence: sequence t differs from the last in token t alone."""
    tokens = np.repeat(small.random_tokens(1, T), T + 1, axis=0)
    places = np.arange(T)
    tokens[places, places] = (tokens[places, places] + 1) % small.VOCABULARY
    net = NETS[name]
    logits = jax.jit(lambda p: net.apply({"params": p["params"]}, tokens)[0])(
        small.random_params(net)
    )
    change = np.abs(logits[:-1] - logits[-1:]).max(axis=-1)
    assert change[np.tril_indices(T, -1)].max() < 1e-12
    assert change[places, places].min() > 1e-3


@pytest.mark.usefixtures("float64")
def test_logits_of_features_are_those_of_their_steps():
    """Otherwise training, which scores some steps alone, fits other tokens than meant."""
    tokens, at = small.random_tokens(B, T), np.array([[1, 7], [0, 0], [3, 2]])[..., None]
    for net in (NETS["lstm"], small.model(1)):
        params = small.random_params(net)
        whole = jax.jit(lambda params, net=net: net.apply(params, tokens)[0])(params)

        def some(params, net=net):
            x, _, _ = net.apply(params, tokens, method="features")
            return net.apply(params, jnp.take_along_axis(x, at, axis=1), method="logits")

        expected = np.take_along_axis(whole, at, axis=1)
        np.testing.assert_allclose(jax.jit(some)(params), expected, rtol=0, atol=1e-12)


@each
@pytest.mark.usefixtures("float64")
def test_segments_join_into_the_whole_sequence(name):
    """Otherwise streaming computes another function than the one that was trained."""
    state, apply = runner(name)
    tokens = small.random_tokens(B, T)
    expected, whole = apply(tokens, None)
    found = []
    for start, stop in ((0, 4), (4, 5), (5, 6), (6, 7), (7, T)):
        logits, state = apply(tokens[:, start:stop], state)
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-10)
    chex.assert_trees_all_close(state, whole, atol=1e-10)


@each
@pytest.mark.usefixtures("float64")
def test_padding_is_as_good_as_absent(name):
    """Wherever it stands."""
    fresh, apply = runner(name)
    tokens = small.random_tokens(B, T)
    padded, state = apply(tokens, fresh, PADDING)
    compact, expected = apply(tokens[PADDING].reshape(B, -1), fresh)
    np.testing.assert_allclose(padded[PADDING].reshape(compact.shape), compact, atol=1e-10)
    chex.assert_trees_all_close(state, expected, atol=1e-10)


@each
@pytest.mark.usefixtures("float64")
def test_pure_padding_leaves_the_state_untouched(name):
    fresh, apply = runner(name)
    tokens = small.random_tokens(B, T)
    _, state = apply(tokens, fresh, PADDING)
    _, after = apply(tokens, state, np.zeros((B, T), bool))
    chex.assert_trees_all_equal(after, state)
    first = lambda state: np.asarray(jax.tree.leaves(state)[0])
    assert not np.allclose(first(state), first(fresh))


@each
def test_wrong_tokens_and_masks_are_refused(name):
    net, tokens = NETS[name], jnp.zeros((2, 4), int)
    for arguments in (
        (tokens[0],),
        (tokens.astype(float),),
        (tokens, None, jnp.ones((2, 1), bool)),
        (tokens, None, jnp.ones((2, 4))),
    ):
        with pytest.raises(AssertionError):
            jax.eval_shape(net.init, jax.random.key(0), *arguments)


WRONG = {
    "no layers": (LstmSpec, SIZES | {"num_layers": 0}, "num_layers must be at least 1, not 0"),
    "negative": (LstmSpec, SIZES | {"mlp_dim": -1}, "mlp_dim must be at least 0, not -1"),
    "odd heads": (
        TransformerSpec,
        SIZES | {"num_heads": 8, "context": 4},
        "width 8 is not divisible by twice 8 heads",
    ),
    "odd chunks": (
        DeltaNetSpec,
        DELTA | {"chunk_size": 6, "form": "chunked"},
        "chunk_size must be a power of two, not 6",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_sizes_that_do_not_fit_are_refused(case):
    kind, settings, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        kind(**settings)


@pytest.mark.usefixtures("float64")
def test_a_full_state_takes_no_more_tokens_in_silence():
    """A token that could not be kept would be missing from all later ones. Padding is none."""
    state, apply = runner("transformer")
    _, state = apply(small.random_tokens(B, T), state)
    mask = np.array([[True], [False], [False]])
    logits, _ = apply(small.random_tokens(B, 1), state, mask)
    assert np.isnan(logits[0]).all()
    assert np.isfinite(logits[1:]).all()


@pytest.mark.usefixtures("float64")
def test_room_that_is_not_used_changes_nothing():
    """Otherwise evaluation in longer states tests another model."""
    state, apply = runner("transformer")
    net, tokens = NETS["transformer"], small.random_tokens(B, T)
    roomy = net.apply(small.random_params(net), B, 2 * T, method="initial_state")
    assert roomy.layers[0].keys.shape == (B, 2 * T, 2, 4)
    np.testing.assert_allclose(apply(tokens, roomy)[0], apply(tokens, state)[0], atol=1e-12)


@each
def test_components_hold_all_parameters(name):
    net = NETS[name]
    params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 2), int))["params"]
    costs = summary.component_costs(net, params)
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(cost.parameters for cost in costs.values()) == total
    layers = [params[f"layers_{n}"] for n in range(2)]
    for part in costs.keys() & {"mixer", "mlp"}:
        own = sum(leaf.size for layer in layers for leaf in jax.tree.leaves(layer[part]))
        assert costs[part].parameters == own
    everything = sum(cost.flops for cost in costs.values())
    assert summary.realised_flops(net, costs, 1.0) == everything


WIDE = {"num_layers": 1, "width": 256, "mlp_dim": 256, "tied_head": True, "dropout": 0.0}
LARGE = {
    "lstm": LstmSpec(**WIDE),
    "transformer": TransformerSpec(**WIDE, num_heads=4, context=128),
    "deltanet": DeltaNetSpec(
        **WIDE, num_heads=2, key_dim=64, value_dim=64, chunk_size=16, form="chunked"
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_flops_are_those_that_xla_counts(name):
    """Token by token, so that no loop hides work. An analytic model that forgets a product
    makes a comparison at equal compute worthless."""
    net, batch = Baseline(50, LARGE[name]), 64
    tokens = jnp.zeros((batch, 1), int)
    params = jax.eval_shape(net.init, jax.random.key(0), tokens)
    costs = summary.component_costs(net, params["params"])

    def logits(params):
        state = net.apply(params, batch, method="initial_state")
        return net.apply(params, tokens, state)[0]

    program = jax.jit(logits).lower(params).compile(small.QUICK)
    counted = program.cost_analysis()["flops"] / batch
    assert counted == pytest.approx(sum(cost.flops for cost in costs.values()), rel=0.05)
