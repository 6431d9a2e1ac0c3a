"""Baselines of text classification: what they read, and what must not matter to them.

Axes: B batch, T time, M pieces of a word, D width, C classes.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.deltanet import DeltaNetSpec
from mocanet_jax.nn.models.lstm import LstmSpec
from mocanet_jax.nn.models.text_baseline import TextBaseline, TextBaselineSpec
from mocanet_jax.nn.models.transformer import TransformerSpec
from mocanet_jax.nn.summary import component_costs, state_size
from tests.nn.models.classifiers import CLASSES, MASK, PIECES, VOCABULARY, B, M, random_tokens

D = 8
SIZES = {"num_layers": 1, "width": D, "mlp_dim": 6, "tied_head": True, "dropout": 0.0}
DELTA = SIZES | {"num_heads": 2, "key_dim": 3, "value_dim": 5, "chunk_size": 4}
BLOCKS = {
    "lstm": LstmSpec(**SIZES),
    "transformer": TransformerSpec(**SIZES, num_heads=2, context=4),
    "deltanet": DeltaNetSpec(**DELTA, form="chunked"),
    "bow": None,
}
each = pytest.mark.parametrize("name", BLOCKS)
ordered = pytest.mark.parametrize("name", [name for name in BLOCKS if name != "bow"])


def model(name, **changes):
    sizes = {"num_pieces": PIECES, "max_pieces": M, "piece_dim": 4}
    spec = TextBaselineSpec(VOCABULARY, CLASSES, D, BLOCKS[name], **sizes | changes)
    return TextBaseline(spec)


@lru_cache
def random_params(name, **changes):
    rng = np.random.default_rng(0)
    init = model(name, **changes).init
    shapes = jax.eval_shape(init, jax.random.key(0), random_tokens())["params"]
    return jax.tree.map(lambda x: 0.5 * rng.normal(size=x.shape), shapes)


def logits(name, tokens, mask=None, **changes):
    mask = np.ones(tokens.shape[:2], bool) if mask is None else mask
    params = random_params(name, **changes)
    apply = jax.jit(model(name, **changes).apply)
    return np.asarray(apply({"params": params}, tokens, None, mask)[0])


@pytest.mark.usefixtures("float64")
def test_a_bag_of_words_by_hand():
    """W · mean of word vectors + b, over the words that are not padding."""
    tokens, p = random_tokens(), random_params("bow")
    pieces = np.asarray(p["embed"]["pieces"]["embedding"])
    for row, text, live in zip(logits("bow", tokens, MASK)[0], tokens, MASK, strict=True):
        vectors = []
        for word, *parts in text[live]:
            parts = [part for part in parts if part]
            mean = np.mean([pieces[part] for part in parts], axis=0) if parts else np.zeros(4)
            vector = p["embed"]["words"]["embedding"][word]
            vectors.append(vector + mean @ p["embed"]["project"]["kernel"])
        expected = np.mean(vectors, axis=0) @ p["head"]["kernel"] + p["head"]["bias"]
        np.testing.assert_allclose(row, expected, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_order_matters_to_all_but_a_bag_of_words():
    """A model that mixes nothing is no baseline for one that does."""
    tokens = random_tokens()
    for name in BLOCKS:
        same = np.allclose(logits(name, tokens), logits(name, tokens[:, ::-1]), atol=1e-9)
        assert same == (name == "bow"), name


@each
@pytest.mark.usefixtures("float64")
def test_padding_and_neighbours_do_not_matter(name):
    """A text has the same logits alone, in any batch and under any padding; also one longer
    than the longest of training."""
    tokens = random_tokens()
    found = logits(name, tokens, MASK)
    assert found.shape == (1, B, CLASSES)
    longer = np.concatenate([tokens, random_tokens(seed=1)], axis=1)
    mask = np.concatenate([MASK, np.zeros_like(MASK)], axis=1)
    np.testing.assert_allclose(logits(name, longer, mask), found, atol=1e-9)
    for i, live in enumerate(MASK):
        alone = logits(name, tokens[i : i + 1, : live.sum()])
        np.testing.assert_allclose(alone[:, 0], found[:, i], atol=1e-9)


@ordered
@pytest.mark.usefixtures("float64")
def test_a_text_is_read_in_both_directions(name):
    """The first word's features depend on the last word only where it is read from the end."""
    for both in (True, False):
        assert model(name, bidirectional=both).spec.directions == 1 + both
        p = random_params(name, bidirectional=both)
        assert ("direction" in p) == both
        assert p["attention"]["kernel"].shape == ((1 + both) * D, 1)


@each
def test_costs_are_of_all_parameters(name):
    """Otherwise the table of a run leaves out a part."""
    net, params = model(name), random_params(name)
    costs = component_costs(net, params)
    assert sum(cost.parameters for cost in costs.values()) == sum(
        x.size for x in jax.tree.leaves(params)
    )
    if name == "lstm":  # two readings of one layer
        assert costs["mixer"].flops == 2 * BLOCKS[name].mixer_flops()
        assert state_size(net, params) == 2 * 2 * D
    if name == "bow":
        assert set(costs) == {"embedding and head"}
        assert state_size(net, params) == 0


@each
def test_dropout_is_of_training_alone(name):
    """Otherwise answers are random, or training is not."""
    net = model(name, word_dropout=0.3, embedding_dropout=0.3, dropout=0.3)
    params, tokens = {"params": random_params(name)}, jnp.asarray(random_tokens())
    run = jax.jit(lambda key: net.apply(params, tokens, train=True, rngs={"dropout": key})[0])
    one, same, other = (np.asarray(run(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dropout": 1.0}, "dropout must be in"),
        ({"piece_dim": 0}, "piece_dim must be at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        model("bow", **changes)
