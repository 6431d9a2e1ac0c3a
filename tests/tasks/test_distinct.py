"""Drawing without replacement."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.tasks.languages.distinct import distinct

DRAW = jax.jit(distinct, static_argnums=(1, 2, 3))


def test_every_ordered_choice_is_equally_likely():
    """Otherwise some keys, items or orders are met more often. 9600 draws of three numbers of
    four give each of 24 choices 400 ± 20 times."""
    rows = np.asarray(DRAW(jax.random.key(0), 9600, 3, 4))
    assert rows.dtype == np.int32
    choices, counts = np.unique(rows, axis=0, return_counts=True)
    assert choices.tolist() == [list(c) for c in itertools.permutations(range(4), 3)]
    assert abs(counts - 400).max() < 5 * 20


def test_ranks_among_what_is_left_become_numbers(monkeypatch):
    """2 of 0 1 2 3; then 0 of 0 1 3; then 1 of 1 3, counting from 0."""
    monkeypatch.setattr(jax.random, "randint", lambda *_: jnp.array([[2, 0, 1]]))
    assert distinct(jax.random.key(0), 1, 3, 4).tolist() == [[2, 0, 3]]


def test_more_numbers_than_there_are_is_refused():
    with pytest.raises(ValueError, match="there are no 5 different numbers among 4"):
        distinct(jax.random.key(0), 1, 5, 4)
