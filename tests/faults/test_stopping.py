"""A run that is stopped by a signal saves first, and ends as if it had never been stopped."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from mocanet_jax.runtime import signals
from mocanet_jax.runtime.errors import Stopped
from mocanet_jax.train import run
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from tests.train import tiny
from tests.train.test_checkpoint import bits
from tests.train.test_loop import final_state, rows

RUN = """
import sys
from pathlib import Path
from rich.console import Console
from mocanet_jax import cli
from mocanet_jax.runtime import compilation_cache
from mocanet_jax.train import run
from tests.train import tiny

compilation_cache.enable()
write = run.Recorder.write

def record(self, step, group, metrics):
    write(self, step, group, metrics)
    if step == 1 and group == "train":
        print("first step", flush=True)
        sys.stdin.read()

run.Recorder.write = record
sys.argv[1:], workdir = [], Path(sys.argv[1])
cli.run(lambda: tiny.train(tiny.config(), workdir, Console()))
"""


def stop_after(monkeypatch, steps, number=signal.SIGTERM):
    """Sends this process the signal when the given step is logged."""
    write = run.Recorder.write

    def record(self, step, group, metrics):
        write(self, step, group, metrics)
        if step == steps and group == "train":
            os.kill(os.getpid(), number)

    monkeypatch.setattr(run.Recorder, "write", record)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(finished, tmp_path, monkeypatch, step):
    """What was trained up to the signal would be lost, or another run would come of it. One
    step after a validated checkpoint, and one before any."""
    workdir = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_after(patched, step)
        with pytest.raises(Stopped, match=f"SIGTERM: saved at step {step} in ") as stop:
            tiny.train(tiny.config(), workdir, tiny.console())
        assert stop.value.received == signal.SIGTERM
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.latest_step() == step
        assert checkpoints.best_step() == (2 if step == 3 else None)
    console = tiny.console()
    result = tiny.train(tiny.config(), workdir, console)
    assert f"resuming at step {step}" in tiny.printed(console)
    assert result["eval/loss"] == finished[1]["eval/loss"]
    assert result["evaluated_step"] == finished[1]["evaluated_step"]
    ends = [final_state(folder, tiny.config()) for folder in (finished[0], workdir)]
    assert bits(ends[0]) == bits(ends[1])
    assert rows(finished[0]) == rows(workdir)


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_process_says_where_it_saved_and_exits_with_the_signals_code(tmp_path, number):
    """Schedulers decide by the code whether to start the job again."""
    command = [sys.executable, "-c", RUN, str(tmp_path / "run")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as run:
        for line in run.stdout:
            if b"first step" in line:
                break
        run.send_signal(number)
        _, printed = run.communicate(timeout=120)
    assert run.returncode == 128 + number
    lines = printed.decode().splitlines()
    assert lines[0] == f"{number.name}: finishing the step, then saving"
    assert lines[1].startswith(f"{number.name}: saved at step ")
    assert len(lines) == 2
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert f"at step {checkpoints.latest_step()} in " in lines[1]


def test_a_second_signal_ends_at_once():
    """Somebody who insists must not wait for a save that may hang."""
    code = (
        "import os, signal\n"
        "from mocanet_jax.runtime.signals import StopRequest\n"
        "with StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 143
    assert done.stderr.splitlines()[1] == "SIGTERM again: leaving at once"


def test_handlers_are_put_back():
    """Ctrl-C during the final evaluation has to interrupt it."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals.StopRequest() as stop:
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert stop.received is None
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_another_thread_notes_no_signal():
    """Signals come to the main thread alone; a server that trains in another would crash."""
    before, ends = signal.getsignal(signal.SIGINT), []

    def train():
        with signals.StopRequest() as stop:
            ends.append((stop.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert ends == [(None, before)]
