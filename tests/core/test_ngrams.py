"""Addresses of n-grams, against a loop over unmasked tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core.ngrams import BEGINNING, last_unmasked, ngram_addresses, previous

B, T, V, ORDERS, SLOTS = 3, 9, 3, (2, 3, 5), 1_000_003
RUN = jax.jit(ngram_addresses, static_argnums=(3, 4))
BEFORE = np.full((B, ORDERS[-1] - 1), BEGINNING, np.int32)


def grams(tokens, order):
    """The n-gram that ends at each token."""
    padded = [BEGINNING] * (order - 1) + list(tokens)
    return [tuple(padded[t : t + order]) for t in range(len(tokens))]


def drawn(seed, share=1.0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (B, T)).astype(np.int32), rng.random((B, T)) < share


@given(st.integers(0, 2**31))
def test_equal_grams_have_one_address_and_others_have_others(seed):
    """Of a table with far more slots than there are n-grams. The same n-gram of another order
    would be another table's."""
    tokens, mask = drawn(seed)
    addresses, _ = RUN(tokens, mask, BEFORE, ORDERS, SLOTS)
    for n, order in enumerate(ORDERS):
        names = [gram for row in tokens for gram in grams(row.tolist(), order)]
        slots = np.asarray(addresses[..., n]).ravel().tolist()
        assert len(set(zip(names, slots, strict=True))) == len(set(names)) == len(set(slots))


@given(st.integers(0, 2**31), st.floats(0, 1), st.integers(0, T))
def test_padding_is_skipped_and_segments_go_on(seed, share, cut):
    """Else an n-gram has another slot where a text is cut elsewhere."""
    tokens, mask = drawn(seed, share)
    first, recent = RUN(tokens[:, :cut], mask[:, :cut], BEFORE, ORDERS, 97)
    second, recent = RUN(tokens[:, cut:], mask[:, cut:], recent, ORDERS, 97)
    found = np.concatenate([first, second], axis=1)
    for row in range(B):
        kept = tokens[row][mask[row]]
        alone, last = ngram_addresses(
            kept[None], np.ones((1, len(kept)), bool), BEFORE[:1], ORDERS, 97
        )
        np.testing.assert_array_equal(found[row][mask[row]], alone[0])
        np.testing.assert_array_equal(recent[row], last[0])


def test_addresses_are_spread_evenly():
    """All 3⁵ n-grams over 16 slots: a slot with twice its share, or with half of it, would be
    a poor hash."""
    tokens = np.array(np.meshgrid(*[range(3)] * 5)).reshape(5, -1).T.astype(np.int32)
    addresses, _ = ngram_addresses(
        tokens, np.ones(tokens.shape, bool), np.full((243, 4), BEGINNING, np.int32), (5,), 16
    )
    counts = np.bincount(np.asarray(addresses[:, -1, 0]), minlength=16)
    assert counts.min() > 243 / 16 / 2
    assert counts.max() < 243 / 16 * 2


def test_an_address_is_the_same_on_every_machine():
    """A checkpoint is read where it was not written: the hash, in Python's integers."""
    addresses, _ = ngram_addresses(
        jnp.array([[0, 1, 2]]), jnp.ones((1, 3), bool), jnp.array([[BEGINNING]]), (2,), 1000
    )
    pairs = ((0, BEGINNING), (1, 0), (2, 1))
    assert addresses[0, :, 0].tolist() == [hashed(pair) % 1000 for pair in pairs]
    assert addresses[0, :, 0].tolist() == [835, 206, 551]


def hashed(tokens):
    """Of a token and those before it."""
    total = len(tokens) * 0x9E3779B1
    for place, token in enumerate(tokens, start=1):
        total = (total + (token + 1) * (0x85EBCA6B + 0x58367ADA * place)) & 0xFFFFFFFF
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            total = ((total ^ (total >> shift)) * factor) & 0xFFFFFFFF
        total ^= total >> 16
    return total


def test_what_came_before_by_hand():
    mask = jnp.array([[True, False, True, True, False]])
    assert previous(mask)[0].tolist() == [0, 0, 0, 2, 3]
    new = jnp.array([[1, 2, 3, 4, 5]])
    assert last_unmasked(jnp.array([[8, 9]]), new, mask)[0].tolist() == [3, 4]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 2))[0].tolist() == [9, 1]
    assert last_unmasked(jnp.array([[8, 9]]), new, mask & (new < 0))[0].tolist() == [8, 9]


def test_too_few_tokens_are_carried():
    with pytest.raises(ValueError, match="fewer than 5 - 1"):
        ngram_addresses(*drawn(0), BEFORE[:, :2], ORDERS, 7)
