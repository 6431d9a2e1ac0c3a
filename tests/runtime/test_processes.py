"""Several processes: two of them train as one does, and leave what one leaves."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mocanet_jax.runtime import processes
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import read_metrics

ROOT = Path(__file__).parent.parent.parent
STEPS = 20
SIZES = {
    "data": {"shortest": 1, "longest": 4, "first_longest": 1},
    "model": {"width": 16, "experts.hidden_dim": 16, "memory.num_slots": 8},
    "train": {
        "batch_size": 8,
        "max_steps": STEPS,
        "warmup_steps": 1,
        "log_every": 1,
        "eval_every": 10,
        "save_every": 10,
        "stop_at_loss": 0.0,
    },
    "eval": {
        "validation_sequences": 8,
        "test_sequences": 8,
        "lengths": "(2,)",
        "long_lengths": "()",
    },
}
FLAGS = [
    f"--config.{section}.{name}={value}"
    for section, fields in SIZES.items()
    for name, value in fields.items()
]


def start(count, workdir, *flags):
    """main.py in `count` processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mocanet_jax.main", "--config=configs/copy.py", *FLAGS]
    together = lambda i: [
        f"--coordinator=localhost:{port}",
        f"--num_processes={count}",
        f"--process_id={i}",
    ]
    return [
        subprocess.Popen(
            [*command, f"--workdir={workdir}", *flags, *(together(i) if count > 1 else [])],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def run(count, workdir, *flags):
    """What each of `count` processes printed, which all were done."""
    started = start(count, workdir, *flags)
    try:
        printed = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, err) in zip(started, printed, strict=True):
        assert process.returncode == 0, err
    return [out for out, _ in printed]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of one process and of two with an axis of experts: (directory, what each printed)."""
    folder = tmp_path_factory.mktemp("processes")
    return [
        (folder / "one", run(1, folder / "one")),
        (folder / "two", run(2, folder / "two", "--config.mesh.expert=2")),
    ]


@pytest.mark.slow
def test_two_processes_train_as_one(runs):
    """Otherwise each trains on its own, or on other sequences. Each step and each validation is
    recorded once."""
    one, two = (read_metrics(workdir) for workdir, _ in runs)
    assert [row["step"] for row in two] == [row["step"] for row in one]
    losses = lambda rows: [r.get("train/loss", r.get("eval/loss")) for r in rows]
    assert len(losses(two)) == STEPS + 2
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(runs):
    """Every file once, and the same evaluation."""
    one, two = (
        {p.name for p in workdir.iterdir() if "tfevents" not in p.name} for workdir, _ in runs
    )
    assert two == one
    assert len(list(runs[1][0].glob("*tfevents*"))) == 1
    one, two = (json.loads((workdir / "result.json").read_text()) for workdir, _ in runs)
    for name in (
        "evaluated_step",
        "trained_steps",
        "parameters",
        "eval/accuracy",
        "eval/exact_match",
    ):
        assert two[name] == one[name]
    assert two["eval/loss"] == pytest.approx(one["eval/loss"], rel=1e-5)


@pytest.mark.slow
def test_only_the_main_process_prints(runs):
    """Otherwise every line comes as often as there are processes."""
    first, second = runs[1][1]
    assert f"step {STEPS}/{STEPS}" in first
    assert "step" not in second


@pytest.mark.slow
def test_one_process_evaluates_what_two_trained(runs):
    """Otherwise a trained model is bound to the processes that it was trained in."""
    workdir = runs[1][0]
    run(1, workdir, "--mode=eval")
    result, evaluated = (
        json.loads((workdir / name).read_text()) for name in ("result.json", "eval.json")
    )
    assert evaluated["eval/accuracy"] == result["eval/accuracy"]
    assert evaluated["eval/loss"] == pytest.approx(result["eval/loss"], rel=1e-5)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path):
    """Otherwise the others wait for the one that stopped, in the middle of a sum over devices,
    and nothing is saved."""
    started = start(2, tmp_path, "--config.train.max_steps=100000")
    try:
        for line in started[0].stdout:
            if line.startswith("step 3"):
                break
        started[1].terminate()
        outputs = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [143, 143], outputs
    saved = [re.search(r"SIGTERM: saved at step (\d+) in", err).group(1) for err in outputs]
    assert saved[0] == saved[1]
    assert (tmp_path / "checkpoints" / saved[0]).is_dir()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (("localhost", 2, 0), "--coordinator=localhost is not HOST:PORT"),
        (("s3://", 1, 0), "--coordinator=s3:// is not HOST:PORT"),
        ((":1234", 1, 0), "is not HOST:PORT"),
        (("localhost:", 1, 0), "is not HOST:PORT"),
        (("localhost:x", 1, 0), "is not HOST:PORT"),
        (("localhost:-1", 1, 0), "is not HOST:PORT"),
        (("localhost:65536", 1, 0), "is not HOST:PORT"),
        (("localhost:1", 0, 0), "--num_processes must be at least 1, not 0"),
        (("localhost:1", 2, 2), r"--process_id must be in \[0, 2\)"),
        (("localhost:1", 2, -1), r"--process_id must be in \[0, 2\)"),
    ],
)
def test_flags_that_name_no_process_are_refused(where, message):
    """Otherwise the others wait for minutes for one that does not come, and a port that is no
    number ends the process in a segmentation fault."""
    with pytest.raises(UserError, match=message):
        processes.join(*where)


def test_a_process_alone_leads_and_waits_for_nobody():
    assert processes.is_main_process()
    processes.barrier("here")
