"""The weight of neighbours."""

import numpy as np
import pytest

from mocanet_jax.evaluate.retrieval import LastTokens, Mixture, Neighbours, Scored, fitted


def scored(shares):
    """Tokens that the model gives 0.5, with two neighbours each: at a distance of 1 one that
    has the token where `shares` is 1; far off another that has it otherwise."""
    match = np.array([[share, not share] for share in shares], bool)
    distances = np.tile(np.array([[1.0, 1e4]], np.float32), (len(shares), 1))
    return Scored(np.full(len(shares), np.log(0.5), np.float32), distances, match)


def test_the_weight_is_that_of_least_loss():
    """Neighbours are right in 8 of 10: −0.8 ln(0.5 + 0.5 w) − 0.2 ln(0.5 − 0.5 w) is least
    where 0.8 (1 − w) = 0.2 (1 + w), at w = 0.6."""
    blocks = [scored([1] * 5), scored([1, 1, 1, 0, 0])]
    mixture = fitted(blocks)
    assert mixture.weight == pytest.approx(0.6, abs=1e-3)
    loss = sum(block.loss(mixture) for block in blocks)
    assert loss == pytest.approx(-8 * np.log(0.8) - 2 * np.log(0.2), rel=1e-4)


def test_neighbours_that_are_wrong_get_no_weight():
    assert fitted([scored([0] * 10)]).weight < 1e-4


def test_without_weight_the_loss_is_that_of_the_model():
    block = scored([1, 0, 1])
    assert block.loss(Mixture(0.0, 1.0)) == -np.sum(block.log_p, dtype=np.float64)


def test_the_likeliest_last_token_is_that_of_the_mixture():
    """The model gives tokens 0, 1, 2 the shares ½, ¼, ¼; neighbours at distances 0, 0 and ln 2
    have the tokens 1, 2 and 2, so that p_kNN is 0, 0.4, 0.6. With w the shares are
    (1 − w)/2, (1 − w)/4 + 0.4 w, (1 − w)/4 + 0.6 w: token 2 from w = 0.25/0.85 ≈ 0.294 on."""
    logits = np.log(np.array([[0.5, 0.25, 0.25]] * 3, np.float32))
    neighbours = Neighbours(
        np.array([[0, 0, np.log(2)]] * 3, np.float32), np.array([[1, 2, 2]] * 3, np.int32)
    )
    last = LastTokens(logits, neighbours, np.array([0, 1, 2], np.int32))
    assert [last.correct(Mixture(w, 1.0)) for w in (0.0, 0.29, 0.30, 0.9)] == [1, 1, 1, 1]
    twos = last._replace(came=np.array([2, 2, 2], np.int32))
    assert [twos.correct(Mixture(w, 1.0)) for w in (0.0, 0.29, 0.30, 0.9)] == [0, 0, 3, 3]
