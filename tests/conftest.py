"""Strict numerics for every test: arrays of different rank never combine silently."""

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("exact", deadline=None, derandomize=True, max_examples=8)
settings.load_profile("exact")


@pytest.fixture
def float64():
    """Runs a test in double precision, where a wrong formula cannot hide in rounding."""
    with jax.enable_x64(True):
        yield
