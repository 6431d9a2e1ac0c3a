"""Rows in fewer bytes: how far they are off, and how many bytes they take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core.narrow import (
    LARGEST,
    Narrow,
    as_found,
    kept_as,
    narrowed,
    no_rows,
    widened,
)

BITS = sorted(LARGEST)


def rounded(rows, bits):
    return np.asarray(widened(narrowed(jnp.asarray(rows), bits), rows.shape[-1]))


@given(
    st.sampled_from(BITS),
    st.integers(1, 9),
    st.floats(-12, 9),
    st.integers(0, 2**31),
)
def test_no_number_is_off_by_more_than_half_a_step(bits, width, power, seed):
    """The step is the scale of its row: a row of small numbers loses nothing to others."""
    rng = np.random.default_rng(seed)
    rows = (10.0**power * rng.normal(size=(5, width)) ** 3).astype(np.float32)
    narrow = narrowed(jnp.asarray(rows), bits)
    scales = np.asarray(narrow.scales, np.float32)[:, None]
    fits = np.abs(rows).max(axis=1, keepdims=True) <= 65_504 * LARGEST[bits]
    bound = (scales / 2 + LARGEST[bits] * 2.0**-25) * (1 + 1e-5)
    assert np.all((np.abs(rounded(rows, bits) - rows) <= bound) | ~fits)


def test_by_hand():
    """Of 8 bits: 254 / 127 = 2 a step, so that 254, −3.1 and 0.9 become 254, −4 and 0. Of 4
    bits: 7 / 7 = 1 a step, codes 7, −7, 2 and 0, as 15 + 16 · 1 and 10 + 16 · 8."""
    row = jnp.array([254.0, -3.1, 0.9])
    assert rounded(row, 8).tolist() == [254, -4, 0]
    narrow = narrowed(jnp.array([7.0, -7.0, 2.4, 0.4]), 4)
    assert (narrow.codes.tolist(), narrow.scales.tolist()) == ([15 + 16, 10 + 16 * 8], 1.0)
    assert widened(narrow, 4).tolist() == [7, -7, 2, 0]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_what_is_rounded_stays_as_it_is(bits, width):
    """Also where a byte is filled half only: else what is written again would drift."""
    rows = np.random.default_rng(0).normal(size=(50, width)).astype(np.float32)
    once = rounded(rows, bits)
    np.testing.assert_allclose(rounded(once, bits), once, rtol=1e-6)
    assert len(np.unique(np.round(once / once.max()))) > 1


@pytest.mark.parametrize(("bits", "row"), [(8, 64 + 2), (4, 32 + 2), (32, 64 * 4)])
def test_bytes_of_a_row(bits, row):
    rows = no_rows((3, 5, 64), bits)
    assert sum(x.nbytes for x in jax.tree.leaves(rows)) == 15 * row
    if bits != 32:
        for one, other in zip(rows, narrowed(jnp.zeros((3, 5, 64)), bits), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    assert not np.any(widened(rows, 64))


def test_arrays_are_left_alone():
    """A model without narrow slots is what it was, to the last bit."""
    old, new = jnp.zeros((2, 3)), jnp.full((1, 3), 0.1)
    assert kept_as(new, old) is new
    assert as_found(new, new) is new
    assert widened(old, 3) is old


@pytest.mark.parametrize("bits", BITS)
def test_the_gradient_passes_straight_through(bits):
    """Rounding has the slope 0 almost everywhere, so that keys would never learn."""

    def read(rows):
        found = as_found(rows, kept_as(rows, no_rows((3, 4), bits)))
        return jnp.sum(found * jnp.arange(4.0)[None])

    rows = jax.random.normal(jax.random.key(0), (3, 4))
    np.testing.assert_array_equal(jax.grad(read)(rows), np.tile(np.arange(4.0), (3, 1)))
    found = as_found(rows, narrowed(rows, bits))
    np.testing.assert_allclose(found, rounded(np.asarray(rows), bits), atol=1e-6)


def test_not_a_number_stays_visible():
    """A model that diverged must not look sound."""
    rows = jnp.array([[1.0, jnp.nan], [1.0, 2.0]])
    found = widened(narrowed(rows, 8), 2)
    assert np.isnan(found[0]).any()
    assert np.isfinite(found[1]).all()
    assert isinstance(narrowed(rows, 8), Narrow)
