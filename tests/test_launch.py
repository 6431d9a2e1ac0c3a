"""Launch files: several processes end together, and every file can at least be read by what
reads it. A process of training is stood in for by a script."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROCESS = """#!/usr/bin/env bash
[ "$1" = -c ] && exec echo 1234  # the free port
for flag in "$@"; do case $flag in --process_id=*) id=${flag#*=} ;; esac; done
echo "$$ $*" > "process_$id"
trap 'echo term >> "process_$id"; exit 143' TERM
for i in $(seq 600); do
    [ -e "end_$id" ] && exit "$(cat "end_$id")"
    sleep 0.05
done
"""


@pytest.fixture
def launched(tmp_path):
    """start(N): the launcher with its processes, in a checkout of nothing else; `end(i, code)`
    ends one of them."""
    (tmp_path / "launch").mkdir()
    script = tmp_path / "launch" / "local_multiprocess.sh"
    script.write_text((ROOT / "launch" / script.name).read_text())
    (tmp_path / "launch" / "setup.sh").write_text("#!/bin/sh\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PROCESS)
    for path in (script, tmp_path / "launch" / "setup.sh", python):
        path.chmod(0o755)
    launcher = None

    def start(count):
        nonlocal launcher
        launcher = subprocess.Popen([script, str(count), "--config=c.py"], cwd=tmp_path)
        files = [tmp_path / f"process_{i}" for i in range(count)]
        for _ in range(600):
            if all(path.exists() and path.read_text() for path in files):
                return launcher, files
            time.sleep(0.05)
        raise AssertionError("not every process was started")

    def end(i, code):
        (tmp_path / f"end_{i}.partial").write_text(str(code))
        (tmp_path / f"end_{i}.partial").rename(tmp_path / f"end_{i}")

    yield start, end
    launcher.kill()
    launcher.wait()


def test_every_process_is_given_the_others(launched):
    """Otherwise they wait for each other forever."""
    start, end = launched
    launcher, files = start(3)
    for i, path in enumerate(files):
        flags = path.read_text().split()[1:]
        expected = ["--coordinator=localhost:1234", "--num_processes=3", f"--process_id={i}"]
        assert flags == ["-m", "mocanet_jax.main", "--config=c.py", *expected]
        end(i, 0)
    assert launcher.wait(timeout=60) == 0


def test_one_process_that_fails_ends_the_others(launched):
    """Otherwise they wait for it, for minutes and on paid machines, and a script that started
    them goes on as if all was well."""
    start, end = launched
    launcher, files = start(3)
    end(1, 7)
    assert launcher.wait(timeout=60) == 7
    assert [path.read_text().endswith("term\n") for path in files] == [True, False, True]


def test_a_signal_reaches_every_process(launched):
    """Otherwise a scheduler's warning is lost, and with it what was trained since the last
    checkpoint."""
    start, _ = launched
    launcher, files = start(2)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=60) == 143
    assert all(path.read_text().endswith("term\n") for path in files)


@pytest.mark.parametrize("arguments", [[], ["0"], ["--config=c.py"]])
def test_the_number_of_processes_has_to_be_given(arguments):
    script = ROOT / "launch" / "local_multiprocess.sh"
    done = subprocess.run([script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: how many processes?")


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.s*")), ids=lambda p: p.name)
def test_scripts_are_bash(path):
    """Otherwise a mistake shows when a job has waited in a queue."""
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_jobset_agrees_with_itself():
    """Otherwise processes wait for others that nobody started, or under another name. The
    coordinator is pod 0 of job 0: NAME-JOB-0-0.SUBDOMAIN."""
    yaml = pytest.importorskip("yaml")
    jobset = yaml.safe_load((ROOT / "launch" / "k8s-jobset.yaml").read_text())
    name, spec = jobset["metadata"]["name"], jobset["spec"]
    (job,) = spec["replicatedJobs"]
    pods = job["template"]["spec"]
    assert pods["completionMode"] == "Indexed"
    assert job["replicas"] == 1
    (container,) = pods["template"]["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert pods["parallelism"] == pods["completions"] == int(env["NUM_PROCESSES"])
    (port,) = container["ports"]
    host = f"{name}-{job['name']}-0-0.{spec['network']['subdomain']}"
    (arguments,) = container["args"]
    assert f"--coordinator={host}:{port['containerPort']} " in arguments
    assert pods["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    assert container["image"].startswith("${"), "no registry is ours to name"
