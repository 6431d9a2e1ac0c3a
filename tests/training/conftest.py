"""Tiny runs that all tests of training share, and compilation shared between runs."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mocanet_jax.training import loop
from tests.training import tiny, tiny_text

SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_disable_most_optimizations": True,
}


@pytest.fixture(scope="session")
def shared_compilation(tmp_path_factory):
    """Runs of one config compile once, and without costly optimization."""
    settings = SETTINGS | {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla"))}
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def finished(shared_compilation, tmp_path_factory):
    """(directory, what `train` returned) of an uninterrupted run. Not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, loop.train(tiny.config(), workdir, tiny.console())


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The folder of the tiny corpus of texts. Not to be changed."""
    return tiny_text.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def finished_text(shared_compilation, corpus, tmp_path_factory):
    """As `finished`, of a run on texts."""
    workdir = tmp_path_factory.mktemp("finished_text") / "run"
    return workdir, loop.train(tiny_text.config(corpus), workdir, tiny.console())
