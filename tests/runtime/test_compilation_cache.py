"""Where compiled programs and histories are kept."""

import warnings
from pathlib import Path

import jax
import pytest

from mocanet_jax.runtime import compilation_cache


@pytest.fixture
def cache_settings(monkeypatch):
    """JAX's settings of the compilation cache, as they are and put back afterwards."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    monkeypatch.delenv(compilation_cache.CONFIGURED_BY, raising=False)
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield lambda: tuple(getattr(jax.config, name) for name in names)
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_the_cache_folder(cache_settings, monkeypatch, tmp_path):
    """Otherwise every chat starts with seconds of compilation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compilation_cache.enable()
        assert cache_settings() == (str(tmp_path / "mocanet_jax" / "xla"), 0, -1)
        warnings.warn("Error writing persistent compilation cache entry for 'f'", stacklevel=1)
    assert caught == []


@pytest.mark.parametrize("configured", ["/elsewhere", ""])
def test_the_users_own_cache_settings_stand(cache_settings, monkeypatch, tmp_path, configured):
    """Otherwise a cache that was moved or turned off comes back."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compilation_cache.CONFIGURED_BY, configured)
    before = cache_settings()
    compilation_cache.enable()
    assert cache_settings() == before
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_cannot_be_written_is_done_without(
    cache_settings, monkeypatch, tmp_path
):
    """Otherwise a read-only home folder prints tracebacks."""
    before = cache_settings()
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    compilation_cache.enable()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fine"))
    monkeypatch.setattr(compilation_cache.os, "access", lambda *_: False)
    compilation_cache.enable()
    assert cache_settings() == before


def test_folders_that_are_not_absolute_are_ignored(monkeypatch):
    """As the XDG Base Directory Specification requires; otherwise files land in the working
    directory."""
    monkeypatch.setenv("HOME", "/home/someone")
    for named in ("here", ""):
        monkeypatch.setenv("XDG_STATE_HOME", named)
        folder = compilation_cache.user_folder("XDG_STATE_HOME", ".local/state")
        assert folder == Path("/home/someone/.local/state/mocanet_jax")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compilation_cache.Path, "home", homeless)
    with pytest.raises(OSError, match="home directory"):
        compilation_cache.user_folder("XDG_STATE_HOME", ".local/state")
