"""The page's entry point: what is wrong is told in one line, before anything is loaded."""

import importlib.util
import signal
import socket
import subprocess
import sys

import pytest

from mocanet_jax import demo
from mocanet_jax.runtime.errors import UserError
from tests.processes import ROOT, entry_point

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra demo is not installed"
)


def test_a_missing_extra_names_the_command(monkeypatch):
    """Otherwise a user reads a traceback that ends in "No module named gradio"."""
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install gradio"):
        demo.check_extra()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_there_is_not_is_refused(port):
    with pytest.raises(UserError, match=f"--port must be in 1 to 65535, not {port}"):
        demo.check_port(port)


def test_a_port_in_use_is_refused():
    """Gradio tells it in a traceback."""
    with socket.socket() as other:
        other.bind((demo.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port={port} cannot be used: Address already"):
            demo.check_port(port)


@needs_gradio
@pytest.mark.parametrize("flag", ["workdir", "language"])
def test_a_run_that_is_not_there_is_told_in_one_line(flag, tmp_path):
    code, _, err = entry_point("demo", f"--{flag}=none", cwd=tmp_path)
    assert code == 2
    assert err == "error: no trained model in none: train first, or pass its --workdir\n"


@needs_gradio
@pytest.mark.integration
def test_ctrl_c_ends_the_page_without_a_traceback(tmp_path):
    with socket.socket() as probe:
        probe.bind((demo.HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mocanet_jax.demo", f"--port={port}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    env = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=demo.os.environ | env, **pipes) as page:
        for line in page.stdout:
            if "Ctrl-C" in line:
                break
        page.send_signal(signal.SIGINT)
        _, errors = page.communicate(timeout=60)
    assert page.returncode == 130
    (line,) = errors.strip().splitlines()
    assert line.endswith("answers are those of the model sst2 that comes with mocanet_jax")
