"""Compiled programs kept from one process to the next, in the user's cache folder."""

import os
import warnings
from pathlib import Path

CONFIGURED_BY = "JAX_COMPILATION_CACHE_DIR"


def enable() -> None:
    """Makes JAX keep what it compiles from now on, in mocanet_jax/xla of the user's cache
    folder. Call it before anything is compiled.

    Does nothing where the user has configured JAX's cache, even as none, or where the folder
    cannot be written.
    """
    import jax

    if CONFIGURED_BY in os.environ or jax.config.jax_compilation_cache_dir:
        return
    try:
        folder = user_folder("XDG_CACHE_HOME", ".cache") / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A full disk or a damaged entry costs a compilation, and is not the user's business.
    for verb in ("reading", "writing"):
        warnings.filterwarnings("ignore", f"Error {verb} persistent compilation cache")


def user_folder(variable: str, default: str) -> Path:
    """mocanet_jax in the folder that an environment variable names, as the XDG Base Directory
    Specification has it, or in `default` of the home folder.

    The folder need not exist. Raises OSError where there is no home folder.
    """
    named = Path(os.environ.get(variable, ""))
    if named.is_absolute():
        return named / "mocanet_jax"
    try:
        return Path.home() / default / "mocanet_jax"
    except RuntimeError as error:
        raise OSError(str(error)) from error
