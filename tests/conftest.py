"""Strict numerics for every test: arrays of different rank never combine silently; and
programs that are traced and compiled fast, and once for all processes that tests start."""

import gc
import os
import tempfile

import jax
import pytest
from hypothesis import settings

from mocanet_jax.runtime import compilation_cache

QUICK_COMPILATION = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
"""Tests compile hundreds of small programs, which takes far longer than running them."""

QUICK = ("not slow and not integration", "not slow")
"""Selections of tests that compile fast rather than well."""

CACHE = pytest.StashKey[tempfile.TemporaryDirectory]()

pytest_plugins = ["tests.runs"]

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)
gc.set_threshold(100_000, 50, 100)  # tracing leaves much to look through, little to free

settings.register_profile("exact", deadline=None, derandomize=True, max_examples=5)
settings.load_profile("exact")


def pytest_configure(config):
    """XLA reads its flags when the first program is compiled, here and in the processes that
    tests start. Slow tests run what users run. All of them, and all workers of pytest-xdist,
    which inherit the folder, share what is compiled."""
    if config.getoption("markexpr") in QUICK:
        flags = (os.environ.get("XLA_FLAGS", ""), *QUICK_COMPILATION)
        os.environ["XLA_FLAGS"] = " ".join(flags)
    if not hasattr(config, "workerinput"):
        config.stash[CACHE] = tempfile.TemporaryDirectory(prefix="mocanet_jax_tests_")
        os.environ["XDG_CACHE_HOME"] = config.stash[CACHE].name
    compilation_cache.enable()
    # To keep a program costs milliseconds, which only those of several tests are worth.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def pytest_unconfigure(config):
    if CACHE in config.stash:
        config.stash[CACHE].cleanup()


@pytest.fixture
def float64():
    """Runs a test in double precision, where a wrong formula cannot hide in rounding."""
    with jax.enable_x64(True):
        yield
