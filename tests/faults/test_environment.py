"""Whatever the environment of the user: a command works, or reports in one line why not.

To add a case is to add a line to a table.
"""

import os
import subprocess
import sys

import jax
import pytest

from mocanet_jax.runtime import backend
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import loop
from mocanet_jax.train.restore import restored
from tests.processes import ROOT, python
from tests.train import tiny

PRINTS = """
import sys
from mocanet_jax.runtime import streams
streams.open_missing()
streams.keep_writing()
with open("kept", "w") as file:
    for number in range(3):
        print("\\u03bb\\udcff to stdout", number, flush=True)
        print("\\u03bb\\udcff to stderr", number, file=sys.stderr)
    file.write("kept")
"""

REDIRECTIONS = [
    "",
    ">&-",
    "2>&-",
    "<&-",
    ">&- 2>&-",
    ">&- 2>&- <&-",
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>/dev/full",
    ">/dev/full 2>&1",
    "| head -1",
    "2>&1 | head -1",
    "| true",
]
"""Of the standard streams, as a shell has them."""


@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_a_run_outlives_its_output(tmp_path, redirection):
    """Else a training ends when nobody reads any more; and with a stream closed, the next file
    that is opened is written full of messages."""
    command = f'set -o pipefail; "$0" -c "$1" {redirection}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, PRINTS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kept").read_text() == "kept"
    assert b"Traceback" not in done.stdout + done.stderr


def test_unbuffered_output_stays_so(tmp_path):
    """Of a container that is stopped, with PYTHONUNBUFFERED=1, the last lines were missing."""
    ends = PRINTS.replace(", flush=True", "") + "import os; os._exit(0)"
    done = python("-u", "-c", ends, cwd=tmp_path, env={})
    assert "to stdout 2" in done.stdout
    assert "to stderr 2" in done.stderr


ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "cp1252:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "none.nothing"},
]


@pytest.mark.parametrize("env", ENCODINGS, ids=str)
def test_what_an_encoding_does_not_have_is_escaped(tmp_path, env):
    """A character in a worst mistake must not end an evaluation."""
    done = python("-c", PRINTS, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "to stdout 2" in done.stdout


LONGER = pytest.mark.integration

STARTS = [
    ({"JAX_PLATFORMS": "nothing"}, "JAX finds no device on JAX_PLATFORMS=nothing"),
    pytest.param(
        {"JAX_PLATFORMS": "cuda,"},
        "JAX finds no device on JAX_PLATFORMS=cuda,",
        marks=pytest.mark.integration,
    ),
    ({"XLA_FLAGS": "--xla_cpu_fast"}, "XLA cannot start with XLA_FLAGS='--xla_cpu_fast' (Unkn"),
    pytest.param(
        {"XLA_FLAGS": "--xla_backend_optimization_level=high"},
        "XLA cannot start with XLA_FLAGS='--xla_backend_optimization_level=high' (Couldn't",
        marks=LONGER,
    ),
    pytest.param(
        {"XLA_FLAGS": "flags"}, "XLA cannot start with XLA_FLAGS='flags'", marks=LONGER
    ),
    pytest.param({"XLA_FLAGS": " "}, "XLA cannot start with XLA_FLAGS=' '", marks=LONGER),
    pytest.param(
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=0"},
        "XLA cannot start with XLA_FLAGS=",
        marks=LONGER,
    ),
    pytest.param({"XLA_FLAGS": ""}, None, marks=LONGER),
    ({"JAX_DEBUG_NANS": "perhaps"}, "JAX cannot start: invalid truth value 'perhaps'"),
    pytest.param({"JAX_ENABLE_X64": "perhaps"}, None, marks=LONGER),
    ({"JAX_ENABLE_X64": "1"}, None),
    pytest.param({"JAX_PLATFORMS": ""}, None, marks=LONGER),
]
"""What JAX is started with, and the error, None for none."""


@pytest.mark.parametrize(("env", "message"), STARTS, ids=str)
def test_jax_starts_or_says_why_not(tmp_path, env, message):
    """A machine without the device that a variable names gave a traceback of thirty lines."""
    code = "from mocanet_jax import cli; from mocanet_jax.runtime import backend as b; "
    done = python(
        "-c", f"{code}cli._guarded(b.start); b.check_precision()", cwd=tmp_path, env=env
    )
    assert done.returncode == (2 if message else 0), done.stderr
    if message:
        assert done.stderr.startswith(f"error: {message}")
        assert len(done.stderr.splitlines()) == 1


def test_double_precision_is_refused_before_anything_is_written(tmp_path):
    """Parameters of 32 bits beside numbers of 64 end in a traceback of a multiplication."""
    with jax.enable_x64(True):
        with pytest.raises(UserError, match="computes in 32 bits"):
            loop.prepared(tiny.config(), tmp_path / "run")
        with pytest.raises(UserError, match="computes in 32 bits"):
            restored(tmp_path / "run")
    assert not (tmp_path / "run").exists()


DRAWN = """
from mocanet_jax.runtime import backend
backend.prepare()
import jax, jax.numpy as jnp
key = jax.random.key(0)
print(key.dtype, jax.random.bits(key, (3,)), jnp.ones((2, 3)) + jnp.ones(3, jnp.int32))
"""


def test_the_same_seed_draws_the_same_numbers(tmp_path):
    """A run that went on under another JAX_DEFAULT_PRNG_IMPL had other batches, silently."""
    values = ("1", "rbg", "7", "0", "strict", "raise")
    env = dict(zip(backend.IGNORED, values, strict=True))
    plain, other = (python("-c", DRAWN, cwd=tmp_path, env=e) for e in ({}, env))
    assert other.returncode == 0, other.stderr
    assert plain.stdout == other.stdout != ""


DRAWS = """
from pathlib import Path
from mocanet_jax import cli

def draw():
    from mocanet_jax.report import curves
    run = curves.Run("a run", None, None)
    curves.learning_curves([{"step": 1, "train/loss": 1.0}], run, Path("curves.png"))

cli.run(draw)
"""


SETTINGS = {
    "of LaTeX": b"text.usetex: True",
    "not UTF-8": b"font.family: \xe9\xff",
    "no settings": b"\0\0[[{",
    "a name of none": b"no.such.setting: 1\nlines.linewidth: wide",
}


@pytest.mark.parametrize("content", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("place", ["the folder", "MATPLOTLIBRC"])
def test_pictures_do_not_depend_on_settings_of_matplotlib(tmp_path, content, place):
    """After hours of training the pictures ended in a traceback."""
    file = tmp_path / ("matplotlibrc" if place == "the folder" else "settings")
    file.write_bytes(content)
    env = {"MPLBACKEND": "nothing"}
    env |= {"MATPLOTLIBRC": str(file)} if place == "MATPLOTLIBRC" else {}
    done = python("-c", DRAWS, cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "curves.png").stat().st_size > 1000


WORKS = [
    {"JAX_ENABLE_X64": "1"},
    {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_NUMPY_DTYPE_PROMOTION": "strict"},
    {"JAX_NUMPY_RANK_PROMOTION": "raise", "MPLBACKEND": "nothing"},
    {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "1"},
    {"COLUMNS": "wide", "LINES": "-3", "PYTHONWARNINGS": "error"},
    {"HOME": "/proc/nothing", "XDG_CACHE_HOME": "", "MPLCONFIGDIR": "/proc/nothing"},
    {"HOME": "", "XDG_CACHE_HOME": "relative", "TMPDIR": "/proc/nothing"},
    {"LC_ALL": "C", "PYTHONOPTIMIZE": "2", "MPLBACKEND": "TkAgg"},
]


@pytest.mark.integration
@pytest.mark.parametrize("env", WORKS, ids=str)
def test_a_command_works(finished, tmp_path, env):
    workdir = finished[0]
    flags = ("--mode=eval", f"--workdir={workdir}")
    done = python("-m", "mocanet_jax.main", *flags, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "was evaluated" in " ".join(done.stdout.split())
