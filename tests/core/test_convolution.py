"""The causal convolution: by hand, and against a loop over unmasked tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core.convolution import causal_convolution

B, T, D, W = 2, 6, 3, 4
RUN = jax.jit(causal_convolution)


def naive(z, mask, recent, taps):
    """Tokens one by one."""
    sums, last = np.zeros_like(z), []
    for row in range(len(z)):
        seen = list(recent[row])
        for t in np.flatnonzero(mask[row]):
            seen.append(z[row, t])
            sums[row, t] = np.sum(taps * np.array(seen[-len(taps) :]), axis=0)
        last.append(seen[len(seen) - len(taps) + 1 :])
    return sums, np.array(last)


def test_by_hand():
    """Steps 1 and 4 are padding; 100 of a token, 10 of the one before and 1 of the one before
    that."""
    z = jnp.arange(1.0, 6.0)[None, :, None]
    mask = jnp.array([[True, False, True, True, False]])
    taps = {"all": jnp.array([[1.0], [10.0], [100.0]]), "now": jnp.array([[0.0], [0.0], [1.0]])}
    seen, recent = causal_convolution(z, mask, jnp.array([[[8.0], [9.0]]]), taps)
    assert seen["all"][0, [0, 2, 3], 0].tolist() == [198, 319, 431]
    assert seen["now"][0, [0, 2, 3], 0].tolist() == [1, 3, 4]
    assert recent[0, :, 0].tolist() == [3, 4]


@given(st.integers(0, 2**31), st.floats(0, 1))
@pytest.mark.usefixtures("float64")
def test_padding_is_skipped_wherever_it_stands(seed, share):
    """Otherwise padding inside a sequence pushes real tokens out of sight, or a short segment
    forgets what came before it."""
    rng = np.random.default_rng(seed)
    z, recent, taps = (rng.normal(size=s) for s in ((B, T, D), (B, W - 1, D), (W, D)))
    mask = rng.random((B, T)) < share
    seen, last = RUN(z, mask, recent, {"taps": taps})
    expected, expected_last = naive(z, mask, recent, taps)
    np.testing.assert_allclose(np.where(mask[..., None], seen["taps"], 0), expected, atol=1e-12)
    np.testing.assert_array_equal(last, expected_last)


@pytest.mark.usefixtures("float64")
def test_its_gradient_is_that_of_finite_differences():
    """The moves to the front and back have a gradient of their own."""
    rng = np.random.default_rng(0)
    z, recent, taps = (rng.normal(size=s) for s in ((B, T, D), (B, W - 1, D), (W, D)))
    mask = rng.random((B, T)) < 0.6
    weights = rng.normal(size=(B, T, D)) * mask[..., None]

    def loss(z, recent, taps):
        seen, last = causal_convolution(z, mask, recent, {"taps": taps})
        return jnp.sum(seen["taps"] ** 2 * weights) + jnp.sum(last**3)

    jax.test_util.check_grads(loss, (z, recent, taps), order=1, modes=["rev"])
