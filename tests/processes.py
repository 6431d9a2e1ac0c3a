"""Python in a process of its own, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python(*arguments, cwd, **settings) -> subprocess.CompletedProcess:
    """The interpreter with these arguments and the checkout on its path. settings: of
    subprocess.run; env: what is added to this process's environment."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {})
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        **settings,
    )


def entry_point(module, *arguments, cwd) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python -m mocanet_jax.MODULE`."""
    done = python("-m", f"mocanet_jax.{module}", *arguments, cwd=cwd)
    return done.returncode, done.stdout, done.stderr
