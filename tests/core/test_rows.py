"""Rows of sequences, by hand."""

import jax.numpy as jnp

from mocanet_jax.core.rows import last_unmasked, previous


def test_what_came_before_by_hand():
    mask = jnp.array([[True, False, True, True, False]])
    assert previous(mask)[0].tolist() == [0, 0, 0, 2, 3]
    new = jnp.array([[1, 2, 3, 4, 5]])
    assert last_unmasked(jnp.array([[8, 9]]), new, mask)[0].tolist() == [3, 4]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 2))[0].tolist() == [9, 1]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 0))[0].tolist() == [8, 9]
