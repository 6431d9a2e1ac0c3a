"""The cache of a model, and the LSTM as a controller: what a model reads does not depend on how
its sequence is cut.

Axes: B batch, T time.
"""

from functools import partial

import jax
import numpy as np
import pytest

from mocanet_jax.nn.cache import CacheConfig
from mocanet_jax.nn.config import ControllerConfig, LayerConfig
from mocanet_jax.nn.models.sequence import MocaNet
from tests.nn import small

B, T, S = 3, 12, 4
CACHE = CacheConfig(S, 5)
MASK = np.random.default_rng(5).random((B, T)) < 0.7


def of_kind(kind) -> MocaNet:
    layer = LayerConfig(8, ControllerConfig(kind=kind), None, None)
    return MocaNet(small.VOCABULARY, 1, layer, False, CACHE)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cuts", [(0, 5, 12), (0, 1, 2, 3, 11, 12)], ids=str)
@pytest.mark.parametrize("kind", ["gated", "lstm"])
def test_segments_join_into_the_whole_sequence(kind, cuts):
    """Padding in the middle included."""
    model = of_kind(kind)
    params, tokens = small.random_params(model), small.random_tokens(B, T)
    run, state = small.compiled(model, False, 1.0), small.compiled_start(model, B)(params)
    whole, expected, aux = run(params, tokens, state, MASK)
    joined, state = small.in_segments(partial(run, params), tokens, state, MASK, cuts)
    np.testing.assert_allclose(joined[MASK], whole[MASK], atol=1e-9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), state, expected)
    assert 0 < aux.copied[MASK].min() < aux.copied[MASK].max() < 1 or aux.copied.min() == 0


@pytest.mark.usefixtures("float64")
def test_padding_does_not_count():
    """Each row alone, without its padding."""
    model = of_kind("gated")
    params, tokens = small.random_params(model), small.random_tokens(B, T)
    run = small.compiled(model, False, 1.0)
    padded, _, _ = run(params, tokens, None, MASK)
    for row in range(B):
        kept = tokens[row][MASK[row]][None]
        alone, _, _ = run(params, kept, None, np.ones(kept.shape, bool))
        np.testing.assert_allclose(padded[row][MASK[row]], alone[0], atol=1e-9)


def test_a_cache_learns_and_can_be_enlarged():
    """More slots find more tokens with the same parameters; fewer are refused."""
    model = of_kind("gated")
    params = small.random_params(model)
    start = lambda slots: model.apply(params, B, slots, method="initial_state")
    assert start(None).cache.entries.keys.shape == (B, S, 5)
    assert start(3 * S).cache.entries.keys.shape == (B, 3 * S, 5)
    with pytest.raises(ValueError, match="not reduced to 3"):
        start(3)
    tokens = small.random_tokens(B, T)
    run = small.compiled(model, False, 1.0)
    few, many = (run(params, tokens, start(n), MASK | True)[2].copied for n in (S, T))
    assert (many >= few - 1e-6).all()
    assert (many[:, S + 2 :] > few[:, S + 2 :]).any()


def test_features_alone_do_not_say_what_is_copied():
    model = of_kind("gated")
    with pytest.raises(ValueError, match="no logits of features alone"):
        model.apply(small.random_params(model), small.random_tokens(B, T), method="features")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CacheConfig(0), "cache.num_slots"),
        (lambda: ControllerConfig(kind="gru"), "controller.kind"),
    ],
)
def test_sizes_that_do_not_work_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
