"""JAX and its devices, or one line on why they cannot be used."""

import os
import re
import subprocess
import sys
from functools import cache

from mocanet_jax.runtime.errors import UserError

DOUBLE = "JAX_ENABLE_X64"

IGNORED = (
    DOUBLE,
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_RANDOM_SEED_OFFSET",
    "JAX_THREEFRY_PARTITIONABLE",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_NUMPY_RANK_PROMOTION",
)
"""Variables that would make another run of the same seed, or none. A run that goes on where
they differ would draw other batches without a word."""

PARSES_FLAGS = "from jaxlib import xla_client; xla_client.make_cpu_client()"

LOGGED = re.compile(r"^[EF]\d{4} .*?\] (.*)$", re.MULTILINE)
"""An error as XLA logs it."""


def prepare() -> None:
    """Imports JAX for a command. It computes in 32 bits and draws the same numbers, whatever
    IGNORED say.

    Raises UserError for a variable of JAX, or of XLA, that it refuses.
    """
    for variable in IGNORED:
        os.environ.pop(variable, None)
    _check_xla_flags()
    try:
        import jax  # noqa: F401
    except ValueError as error:
        raise UserError(f"JAX cannot start: {_line(error)}") from error


@cache
def _check_xla_flags():
    """In a process of its own, since XLA aborts the one that it finds wrong flags in."""
    if "XLA_FLAGS" not in os.environ:
        return
    command = [sys.executable, "-c", PARSES_FLAGS]
    tried = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if tried.returncode:
        printed = tried.stderr.decode(errors="replace")
        reason = [*LOGGED.findall(printed), *reversed(printed.strip().splitlines()), ""][0]
        raise UserError(
            f"XLA cannot start with XLA_FLAGS={os.environ['XLA_FLAGS']!r} ({reason}); correct "
            "or unset it"
        )


def start() -> None:
    """`prepare`, and finds the devices. Raises UserError where there are none."""
    prepare()
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        if wanted := jax.config.jax_platforms:
            raise UserError(
                f"JAX finds no device on JAX_PLATFORMS={wanted} ({_line(error)}); unset it to "
                "use what is there"
            ) from error
        raise UserError(
            f"JAX cannot use its devices ({_line(error)}); JAX_PLATFORMS=cpu does without them"
        ) from error


def check_precision() -> None:
    """Raises UserError where JAX is set to 64 bits, in which parameters do not fit together."""
    import jax

    if jax.config.jax_enable_x64:
        raise UserError(
            f"MOCA-Net computes in 32 bits; unset {DOUBLE}, or "
            'jax.config.update("jax_enable_x64", False)'
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or "not there"
