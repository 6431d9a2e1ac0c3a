"""The cache: copies and the model's own prediction in one softmax, against a loop."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax.core import cache
from mocanet_jax.core.cache import Entries, empty_cache, with_copies
from mocanet_jax.core.narrow import narrowed, widened

B, T, V, K, S = 2, 11, 5, 3, 4


def drawn(seed, share=0.7, length=T):
    rng = np.random.default_rng(seed)
    query, key = rng.normal(size=(2, B, length, K)).astype(np.float32)
    entries = Entries(
        query,
        key,
        rng.normal(size=(B, length)).astype(np.float32),
        rng.integers(0, V, (B, length)).astype(np.int32),
        rng.random((B, length)) < share,
    )
    return rng.normal(size=(B, length, V)).astype(np.float32), entries


FORGETTING = 0.7


def naive(logits, entries, num_slots, horizon=100):
    """Token by token, with a list of what was kept."""
    joined, shares = np.zeros_like(logits), np.zeros(logits.shape[:2])
    for b in range(B):
        kept = []
        for t in range(logits.shape[1]):
            if entries.live[b, t]:
                kept = [*kept, (entries.key[b, t], entries.token[b, t])][-num_slots:]
            weights = np.exp(logits[b, t].astype(float))
            own = weights.sum()
            for age, (key, token) in enumerate(reversed(kept)):
                score = entries.query[b, t] @ key + entries.bias[b, t]
                weight = np.exp(score) / (1 + age) ** FORGETTING
                weights[token] += weight / max(1, (1 + age) / horizon)
            joined[b, t], shares[b, t] = np.log(weights), 1 - own / weights.sum()
    return joined, shares


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, T), st.sampled_from([3, 4, 256]))
def test_copies_are_those_of_a_loop(seed, cut, chunk):
    """In segments that begin anywhere, and in chunks shorter and longer than the ring."""
    logits, entries = drawn(seed)
    parts = [jax.tree.map(lambda x: x[:, :cut], (logits, entries))]
    parts += [jax.tree.map(lambda x: x[:, cut:], (logits, entries))]
    state, found, shares = empty_cache(B, S, K), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK_SIZE", chunk)
        for part in parts:
            if part[0].shape[1]:
                joined, state, share = with_copies(part[0], state, part[1], FORGETTING)
                found.append(joined)
                shares.append(share)
    expected, expected_shares = naive(logits, entries, S)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(shares, axis=1), expected_shares, atol=1e-6)
    np.testing.assert_array_equal(state.count, entries.live.sum(axis=1))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_both_forms_of_the_sum_agree(share):
    """In value and gradient: over all V tokens, and over entries alone, of which some have the
    same token and some are not found."""
    rng = np.random.default_rng(0)
    C, N = 4, 9
    logits, scores = rng.normal(size=(C, V)), rng.normal(size=(C, N))
    scores = np.where(rng.random((C, N)) < share, scores, -np.inf).astype(np.float32)
    logits, tokens = jnp.float32(logits), rng.integers(0, V, N)
    weights = rng.normal(size=(C, V)).astype(np.float32)
    results = []
    for form in (cache._over_vocabulary, cache._over_entries):
        loss = lambda x, s, form=form: (form(x, s, tokens) * weights).sum()
        results.append((form(logits, scores, tokens), jax.grad(loss, (0, 1))(logits, scores)))
    chex.assert_trees_all_close(*results, atol=2e-6)
    expected = np.exp(logits)
    for n, token in enumerate(tokens):
        expected[:, token] += np.exp(scores[:, n])
    np.testing.assert_allclose(results[0][0], np.log(expected), atol=1e-5)


def test_with_nothing_kept_logits_are_as_they_were():
    """Those that are hopeless, too, and so are the gradients."""
    logits, entries = drawn(0, share=0.0)
    logits[0, 0, 0] = -70.0
    run = lambda logits: with_copies(logits, empty_cache(B, S, K), entries)[0]
    np.testing.assert_allclose(run(logits), logits, atol=2e-6)
    weights = np.random.default_rng(1).normal(size=logits.shape)
    gradient = jax.grad(lambda x: (run(x) * weights).sum())(logits)
    np.testing.assert_allclose(gradient, weights, rtol=1e-5)


def test_more_slots_find_more():
    """The same entries in a larger ring than the one of training: what that forgot is found,
    with less weight, and the rest has the weight that it had."""
    logits, entries = drawn(3, share=1.0)
    run = lambda slots: with_copies(logits, empty_cache(B, slots, K), entries, FORGETTING, 2)
    few, many = run(2), run(T)
    np.testing.assert_allclose(few[0][:, :2], many[0][:, :2], atol=1e-6)
    assert (many[2][:, 2:] > few[2][:, 2:]).all()
    np.testing.assert_allclose(many[0], naive(logits, entries, T, horizon=2)[0], atol=1e-5)
    np.testing.assert_allclose(few[0], naive(logits, entries, 2)[0], atol=1e-5)


def test_gradients_are_finite_where_scores_are_large():
    """Copies a hundred times as sharp, and sequences that have not begun."""
    logits, entries = drawn(4)
    state = empty_cache(B, S, K)

    def loss(scale, logits):
        sharp = entries._replace(query=scale * entries.query)
        return with_copies(logits, state, sharp)[0].sum()

    for gradient in jax.grad(partial(loss), argnums=(0, 1))(100.0, logits):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("cut", [0, 1, 5])
def test_narrow_keys_are_rounded_ones(bits, cut):
    """In both segments, however the text is cut."""
    logits, entries = drawn(0)
    keys = np.asarray(widened(narrowed(jnp.asarray(entries.key), bits), K))
    expected, _ = naive(logits, entries._replace(key=keys), S)
    state, found = empty_cache(B, S, K, bits), []
    for part in (slice(0, cut), slice(cut, T)):
        if part.start < part.stop:
            here = jax.tree.map(lambda x, part=part: x[:, part], (logits, entries))
            joined, state, _ = with_copies(here[0], state, here[1], FORGETTING)
            found.append(joined)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
    assert state.keys.codes.dtype == (jnp.int8 if bits == 8 else jnp.uint8)
