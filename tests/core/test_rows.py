"""Rows of sequences, by hand."""

import jax.numpy as jnp

from mocanet_jax.core.rows import in_front, last_unmasked, previous


def test_what_came_before_by_hand():
    mask = jnp.array([[True, False, True, True, False]])
    assert previous(mask)[0].tolist() == [0, 0, 0, 2, 3]
    new = jnp.array([[1, 2, 3, 4, 5]])
    assert last_unmasked(jnp.array([[8, 9]]), new, mask)[0].tolist() == [3, 4]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 2))[0].tolist() == [9, 1]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 0))[0].tolist() == [8, 9]


def test_what_is_chosen_stands_in_front_by_hand():
    chosen = jnp.array([[False, True, True, False, True], [False] * 5])
    token, place = in_front(chosen, 5)
    assert token.tolist() == [[1, 2, 4, 5, 5], [5] * 5]
    assert place.tolist() == [[5, 0, 1, 5, 2], [5] * 5]
    token, place = in_front(chosen, 2)  # the third finds no room
    assert token.tolist() == [[1, 2], [5, 5]]
    assert place.tolist() == [[2, 0, 1, 2, 2], [2] * 5]
