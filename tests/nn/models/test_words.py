"""Words to vectors: a known word's row plus the mean of the pieces it has.

Axes: B batch, T time, M pieces of a word, D width.
"""

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.words import NO_PIECE, UNKNOWN_WORD, WordEmbedding

VOCABULARY, PIECES, PIECE_DIM, D = 7, 11, 3, 4
RNG = np.random.default_rng(0)
WORD_TABLE = RNG.normal(size=(VOCABULARY, D)).astype(np.float32)
PIECE_TABLE = RNG.normal(size=(PIECES, PIECE_DIM)).astype(np.float32)
PROJECTION = RNG.normal(size=(PIECE_DIM, D)).astype(np.float32)
PARAMS = {
    "params": {
        "words": {"embedding": WORD_TABLE},
        "pieces": {"embedding": PIECE_TABLE},
        "project": {"kernel": PROJECTION},
    }
}
QUICK = {"xla_backend_optimization_level": 0}
TOKENS = np.array(
    [
        [[2, 5, 6, 10], [3, 7, 7, NO_PIECE], [UNKNOWN_WORD, 1, NO_PIECE, NO_PIECE]],
        [[6, NO_PIECE, 4, NO_PIECE], [2, 5, 6, 10], [0, NO_PIECE, NO_PIECE, NO_PIECE]],
    ]
)


def embedding(word_dropout=0.0):
    return WordEmbedding(VOCABULARY, PIECES, PIECE_DIM, D, word_dropout)


def by_hand(word, *pieces):
    own = [PIECE_TABLE[piece] for piece in pieces]
    return WORD_TABLE[word] + (np.mean(own, axis=0) @ PROJECTION if own else 0)


def test_a_word_is_its_row_and_the_mean_of_its_pieces():
    """Otherwise a piece counts that is not there, or more in a word with fewer of them."""
    x = embedding().apply(PARAMS, TOKENS, train=False)
    expected = [
        [by_hand(2, 5, 6, 10), by_hand(3, 7, 7), by_hand(UNKNOWN_WORD, 1)],
        [by_hand(6, 4), by_hand(2, 5, 6, 10), by_hand(0)],
    ]
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, expected, atol=1e-6)


def test_the_row_of_no_piece_is_never_used():
    """Words with fewer pieces would all be drawn to one vector."""
    other = jax.tree.map(np.copy, PARAMS)
    other["params"]["pieces"]["embedding"][NO_PIECE] += 100
    before, after = (embedding().apply(p, TOKENS, train=False) for p in (PARAMS, other))
    np.testing.assert_array_equal(before, after)


def test_without_pieces_a_word_is_its_row():
    """A model without pieces must not have a table of them."""
    tokens, key = TOKENS[..., :1], jax.random.key(0)
    shapes = jax.eval_shape(lambda: embedding().init(key, tokens, train=False))
    assert list(shapes["params"]) == ["words"]
    words = {"params": {"words": {"embedding": WORD_TABLE}}}
    x = embedding().apply(words, tokens, train=False)
    np.testing.assert_array_equal(x, WORD_TABLE[tokens[..., 0]])


def test_fresh_words_and_pieces_have_one_size():
    """If one began far smaller than the other, training would start without it."""
    start = lambda key: embedding().init(key, TOKENS, train=False)["params"]
    params = jax.jit(start, compiler_options=QUICK)(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(np.shape, PARAMS["params"])
    words, pieces = (jnp.std(params[name]["embedding"]) for name in ("words", "pieces"))
    assert 1 / 3 < words / pieces < 3


SHARE = 0.2
MANY = np.broadcast_to(np.array([4, 2, 9, NO_PIECE]), (40, 50, 4))


@partial(jax.jit, compiler_options=QUICK)
def trained(key):
    return embedding(SHARE).apply(PARAMS, MANY, train=True, rngs={"dropout": key})


def train(seed):
    return np.asarray(trained(jax.random.key(seed)))


def test_training_hides_words_and_keeps_their_pieces():
    """A model would never learn to read an unknown word by its pieces. 2000 words at 0.2:
    400 ± 18 hidden."""
    x = train(0)
    hidden = np.isclose(x, by_hand(UNKNOWN_WORD, 2, 9), atol=1e-6).all(axis=-1)
    shown = np.isclose(x, by_hand(4, 2, 9), atol=1e-6).all(axis=-1)
    np.testing.assert_array_equal(hidden, ~shown)
    assert abs(hidden.sum() - 400) < 5 * 18
    for axis in (0, 1):  # each text on its own, each of its words on its own
        assert 0 < hidden.mean(axis=axis).min() < hidden.mean(axis=axis).max() < 1


def test_what_is_hidden_is_drawn_by_the_key():
    """A resumed run would differ, or every step hide the same words."""
    np.testing.assert_array_equal(train(0), train(0))
    assert (train(0) != train(1)).any()


def test_evaluation_hides_nothing():
    """Otherwise answers to one text vary, and a key would have to be given."""
    x = embedding(SHARE).apply(PARAMS, TOKENS, train=False)
    np.testing.assert_array_equal(x, embedding().apply(PARAMS, TOKENS, train=False))


def test_training_without_hiding_needs_no_key():
    """An ablation without dropout would fail for want of randomness that it never uses."""
    x = embedding().apply(PARAMS, TOKENS, train=True)
    np.testing.assert_array_equal(x, embedding().apply(PARAMS, TOKENS, train=False))
    with pytest.raises(flax.errors.InvalidRngError):
        embedding(SHARE).apply(PARAMS, TOKENS, train=True)
