"""kill -9 at any moment loses nothing but time."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.train import tiny
from tests.train.test_checkpoint import bits
from tests.train.test_loop import final_state, rows

KILLS = 50
FLAGS = (
    "--config=configs/copy.py",
    "--config.model.width=16",
    "--config.model.experts.hidden_dim=16",
    "--config.data.longest=4",
    "--config.data.shortest=1",
    "--config.data.first_longest=1",
    "--config.train.batch_size=4",
    "--config.train.max_steps=3000",
    "--config.train.eval_every=10",
    "--config.train.save_every=10",
    "--config.train.stop_at_loss=0",
    "--config.eval.validation_sequences=8",
    "--config.eval.test_sequences=8",
    "--config.eval.lengths=(2,)",
    "--config.eval.long_lengths=()",
)


def start(workdir, folder):
    command = [sys.executable, "-m", "mocanet_jax.main", *FLAGS, f"--workdir={workdir}"]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with (folder / "stderr").open("a") as stderr:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr
        )


def config():
    from mocanet_jax import cli

    return cli.config_of(list(FLAGS))


@pytest.mark.slow
def test_a_run_that_is_killed_fifty_times_ends_as_one_that_is_not(tmp_path):
    """Kills fall anywhere from a second after the start on: into loading, steps, validations
    and saves."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, tmp_path).wait() == 0
    rng, kills = np.random.default_rng(0), 0
    while kills < KILLS:
        process = start(killed, tmp_path)
        saved = lambda: {p.name for p in (killed / "checkpoints").glob("[0-9]*")}
        before, deadline = saved(), time.monotonic() + 60
        while saved() == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        assert process.poll() is None, "the run ended before it was killed often enough"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert start(killed, tmp_path).wait() == 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    ends = [final_state(folder, config()) for folder in (whole, killed)]
    assert bits(ends[0]) == bits(ends[1])
    assert rows(whole) == rows(killed)
    assert tiny.STEPS < int(ends[0].step) == 3000
