"""Memories outside of the layers, n-grams and the cache, and the LSTM as a controller: what a
model reads does not depend on how its sequence is cut.

Axes: B batch, T time.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.ngrams import BEGINNING, ngram_addresses
from mocanet_jax.nn.cache import CacheConfig
from mocanet_jax.nn.config import ControllerConfig
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.ngrams import NgramConfig, NgramMemory
from tests.nn import small

B, T, S = 3, 12, 4
NGRAMS, CACHE = NgramConfig((2, 4), 20, 3), CacheConfig(S, 5)
MASK = np.random.default_rng(5).random((B, T)) < 0.7


def net(**changes) -> MocaNet:
    layer = small.layer(heads=(), **changes)
    return MocaNet(small.VOCABULARY, 1, layer, False, NGRAMS, CACHE)


def of_kind(kind) -> MocaNet:
    model = net()
    return model.clone(layer=model.layer.__class__(8, ControllerConfig(kind=kind), None, None))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cuts", [(0, 5, 12), (0, 1, 2, 3, 11, 12)], ids=str)
@pytest.mark.parametrize("kind", ["gated", "lstm"])
def test_segments_join_into_the_whole_sequence(kind, cuts):
    """Padding in the middle included."""
    model = of_kind(kind)
    params, tokens = small.random_params(model), small.random_tokens(B, T)
    run, state = small.compiled(model, False, 1.0), small.compiled_start(model, B)(params)
    whole, expected, aux = run(params, tokens, state, MASK)
    parts = []
    for start, stop in pairwise(cuts):
        out, state, _ = run(params, tokens[:, start:stop], state, MASK[:, start:stop])
        parts.append(out)
    np.testing.assert_allclose(np.concatenate(parts, axis=1)[MASK], whole[MASK], atol=1e-9)
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


def test_what_n_grams_read_by_hand():
    """The slots of the table, side by side, times a matrix."""
    memory = NgramMemory(NGRAMS, 8)
    tokens, mask = small.random_tokens(B, T).astype(np.int32), np.ones((B, T), bool)
    recent = memory.initial_state(B)
    assert recent.shape == (B, 3)
    assert (recent == BEGINNING).all()
    params = memory.init(jax.random.key(0), tokens, mask, recent)["params"]
    read, _ = memory.apply({"params": params}, tokens, mask, recent)
    at, _ = ngram_addresses(tokens, mask, recent, NGRAMS.orders, NGRAMS.num_slots)
    rows = np.concatenate([params["table"][n][at[..., n]] for n in range(2)], axis=-1)
    np.testing.assert_allclose(read, rows @ params["output"], atol=1e-6)


def test_dropout_leaves_out_whole_slots():
    """Else what is left of a slot gives away which n-gram it was."""
    memory = NgramMemory(NgramConfig((2, 4), 20, 3, dropout=0.5), 6)
    tokens, mask = small.random_tokens(B, T).astype(np.int32), np.ones((B, T), bool)
    recent = memory.initial_state(B)
    params = {"table": jnp.ones((2, 20, 3)), "output": jnp.eye(6)}
    rngs = {"dropout": jax.random.key(0)}
    read, _ = memory.apply({"params": params}, tokens, mask, recent, train=True, rngs=rngs)
    slots = np.asarray(read).reshape(B, T, 2, 3)
    assert set(slots.ravel().tolist()) == {0.0, 2.0}
    assert (slots.min(axis=-1) == slots.max(axis=-1)).all()


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
        (lambda: NgramConfig((1, 2)), "must rise from at least 2"),
        (lambda: NgramConfig((3, 2)), "must rise from at least 2"),
        (lambda: NgramConfig((2,), 0), "ngrams.num_slots"),
        (lambda: NgramConfig((2,), dropout=1.0), "ngrams.dropout"),
        (lambda: CacheConfig(0), "cache.num_slots"),
        (lambda: ControllerConfig(kind="gru"), "controller.kind"),
    ],
)
def test_sizes_that_do_not_work_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
