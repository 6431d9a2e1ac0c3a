"""The command line: a mistake is reported in one line on stderr with exit code 2, and nothing
is written."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import pytest
from absl import flags
from absl.testing import flagsaver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import copy
from mocanet_jax import cli, main
from mocanet_jax.inference import evaluation
from mocanet_jax.report import run as run_report
from mocanet_jax.tasks.task import Lengths
from mocanet_jax.train import loop
from mocanet_jax.train.checkpoints import workdir as workdirs
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints, Progress
from mocanet_jax.train.config.settings import plain
from mocanet_jax.train.curriculum import Curriculum
from mocanet_jax.train.run import Run
from mocanet_jax.train.state import TrainState
from tests.processes import entry_point

ROOT = Path(__file__).parents[2]
CONFIG = f"--config={ROOT / 'configs' / 'copy.py'}"
TEXTS = f"--config={ROOT / 'configs' / 'sst2.py'}"


def run(*arguments):
    """Runs the entry point in this process; returns its exit code."""
    saved, argv, path = flagsaver.save_flag_values(), sys.argv, list(sys.path)
    sys.argv = ["main", *arguments]
    try:
        cli.run(main.main)
    except SystemExit as done:
        return done.code or 0
    finally:
        flagsaver.restore_flag_values(saved)
        sys.argv, sys.path[:] = argv, path
    raise AssertionError("the entry point returned without an exit code")


def contents(directory):
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty directory that must be refused; returns its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Run, "advance", lambda *_: pytest.fail("training was started"))

    def check(*arguments):
        before = contents(tmp_path)
        code = run(*arguments)
        out, err = capsys.readouterr()
        assert code == 2, (out, err)
        assert out == ""
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1, err
        assert "Traceback" not in err
        assert contents(tmp_path) == before, "something was written"
        return err.removeprefix("error: ").strip()

    return check


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope=3"], "Unknown command line flag 'nope'"),
        (["--num_experts=8"], "did you mean --config.model.experts.count=8?"),
        (["--max_steps=8"], "did you mean --config.train.max_steps=8?"),
        (["--config=copi"], "did you mean copy?"),
        (["--config=reverse_string"], "did you mean formal_language:reverse_string?"),
        (
            [CONFIG, "--config.model.num_experts=8"],
            "unknown config field model.num_experts; did you mean --config.model.experts.",
        ),
        ([CONFIG, "--config.training.max_steps=9"], "did you mean --config.train.max_steps=9?"),
        (["--mode=eval"], "no run given; pass one, for example --workdir=runs/copy"),
        (["--mode=eval", "--workdir=none"], "no trained model in none: train first"),
        ([], "no config given; pass one, for example --config=configs/copy.py"),
        (
            ["--config=configs/none.py"],
            "no such file, and no config of this name",
        ),
        ([f"{CONFIG}:bogus"], "unknown ablation 'bogus'; known: no_memory, no_experts, no_"),
        (
            [CONFIG, "--config.model.expert.count=8"],
            "unknown config field model.expert.count; did you mean --config.model.experts.",
        ),
        (
            [CONFIG, "--config.modle.experts.count=8"],
            "unknown config field modle.experts.count; did you mean --config.model.experts.",
        ),
        ([CONFIG, "--config.model.bogus.deep=0"], "unknown config field model.bogus.deep"),
        ([CONFIG, "--config.model.experts.count=many"], "--config.model.experts.count=many"),
        (
            [CONFIG, "--process_id=1"],
            "--num_processes and --process_id need --coordinator=HOST:PORT",
        ),
        ([CONFIG, "--coordinator=here"], "--coordinator=here is not HOST:PORT"),
        (
            [CONFIG, "--config.train.batch_size=9", "--config.mesh.data=2"],
            "config.mesh: data=2 and expert=1 do not divide 1 device",
        ),
        ([CONFIG, "--config.seed=1.5"], "--config.seed=1.5"),
        ([CONFIG, "--config.model.remat=7"], "--config.model.remat=7"),
        ([CONFIG, "--mode=play"], "--mode=play: value should be one of <train|eval>"),
        ([CONFIG, "config.seed=2"], "unexpected argument 'config.seed=2'; flags are written"),
        ([CONFIG, "--mode=eval"], "no trained model in runs/copy: train first"),
        ([f"{CONFIG}:no_memory", "--mode=eval"], "no trained model in runs/copy_no_memory:"),
        ([CONFIG, "--config.task=paste"], "unknown task 'paste'; known tasks: copy, "),
        (
            [CONFIG, "--config.model.memory.heads.ring.count=3"],
            "128 is not divisible by 3 memory",
        ),
        (
            [CONFIG, "--config.model.memory.active_slots=65"],
            "active_slots must be between 1 and memory.num_slots 64, not",
        ),
        ([CONFIG, "--config.data.longest=0"], "lengths need 1 ≤ shortest ≤ longest"),
        ([CONFIG, f"--workdir={'x' * 300}"], "xxx cannot be used: File name too long"),
        ([CONFIG, "--config.train.max_steps=0"], "max_steps must be at least 1, not 0"),
        ([CONFIG, "--config.eval.lengths=(7,'a')"], "eval.lengths takes whole numbers"),
        (
            [TEXTS, "--config.data.path=none"],
            "none: there is no train.tsv; --config.data.path takes a",
        ),
        ([TEXTS, "--config.data.buckets=(8,4)"], "buckets must be rising lengths from 1 on"),
        ([TEXTS, "--config.data.held_out=1.0"], "held_out is a share between 0 and 1, not 1.0"),
        (
            [TEXTS, "--config.data.label_smoothing=1.0"],
            "label_smoothing must be in [0, 1), not",
        ),
        ([TEXTS, "--config.data.num_pieces=1"], "num_pieces must be at least 2"),
        ([TEXTS, "--mode=eval"], "no trained model in runs/sst2: train first"),
    ],
)
def test_a_mistake_is_reported_in_one_line(refused, arguments, message):
    """Otherwise a user reads a traceback, or a run starts with another config."""
    assert message in refused(*arguments)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_file_where_the_directory_should_be_is_left_alone(refused, tmp_path, mode):
    (tmp_path / "taken").write_text("mine")
    line = refused(CONFIG, "--workdir=taken", f"--mode={mode}")
    assert "taken" in line


def test_a_directory_of_another_config_is_refused(refused, tmp_path):
    """Naming every field that differs, so that the user sees which run is there."""
    workdirs.make_workdir(tmp_path / "run")
    workdirs.claim_workdir(tmp_path / "run", plain(copy.get_config()))
    changes = ["--config.model.experts.count=8", "--config.seed=3"]
    line = refused(CONFIG, "--workdir=run", *changes)
    assert "run holds a run of another config: model.experts.count (4 there, 8 now)" in line
    assert "seed (0 there, 3 now). Use another --workdir" in line


def test_a_directory_without_a_checkpoint_has_nothing_to_evaluate(refused, tmp_path):
    workdirs.make_workdir(tmp_path / "run")
    workdirs.claim_workdir(tmp_path / "run", plain(copy.get_config()))
    line = refused(CONFIG, "--workdir=run", "--mode=eval")
    assert "no trained model in run: train first" in line


def test_evaluation_refuses_what_contradicts_the_checkpoint(refused, tmp_path):
    """Otherwise numbers of one model are reported under the settings of another."""
    config = plain(copy.get_config())
    workdirs.make_workdir(tmp_path / "run")
    workdirs.claim_workdir(tmp_path / "run", config)
    task = SimpleNamespace(lengths=Lengths(1, 4, 1))
    curriculum = Curriculum(copy.get_config().train.curriculum, task).initial_state()
    params, moments = {"w": jnp.ones(2)}, {"m": jnp.ones(2)}
    state = TrainState(
        jnp.int32(1), params, jnp.float32(0), moments, curriculum, None, jnp.int32(0)
    )
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state, Progress(config, {"loss": 0.5}, 1.0, 1.0, 1.0, True), loss=0.5)
    line = refused(CONFIG, "--workdir=run", "--mode=eval", "--config.model.experts.count=8")
    assert "--config.model.experts.count=8 contradicts the checkpoint" in line
    assert "trained with 4; only config.eval fields can change" in line


def test_a_config_that_fails_is_reported_with_its_own_message(refused, tmp_path):
    """A config file is code and may raise anything."""
    (tmp_path / "mine.py").write_text(
        "def get_config():\n    raise RuntimeError('no such corpus')\n"
    )
    assert "no such corpus" in refused(f"--config={tmp_path / 'mine.py'}")


WRONG = {
    "seed": st.one_of(st.integers(max_value=-1), st.floats().filter(lambda x: x % 1)),
    "train.batch_size": st.integers(max_value=0),
    "train.learning_rate": st.floats(max_value=0),
    "train.save_every": st.integers(1, 10**6).filter(lambda n: n % 20),
    "model.experts.top_k": st.integers(min_value=5) | st.integers(max_value=0),
    "model.num_layers": st.integers(max_value=0),
    "model.budget.target": st.floats(min_value=1.01) | st.floats(max_value=-0.01),
    "model.controller.enabled": st.sampled_from(["yes!", "2", "-"]),
    "task": st.text("abcdef", min_size=1),
    "eval.tokens_per_batch": st.integers(max_value=0),
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_wrong_values_name_their_field(refused, data):
    """Whatever the value, its field is named: the mistake may be one of many flags."""
    field = data.draw(st.sampled_from(sorted(WRONG)))
    line = refused(CONFIG, f"--config.{field}={data.draw(WRONG[field])}")
    assert field.rpartition(".")[2] in line


def test_an_interrupted_run_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    monkeypatch.setattr(cli.os, "_exit", sys.exit)
    assert run(CONFIG, f"--workdir={tmp_path}") == 130
    assert "the same command goes on from the last checkpoint" in capsys.readouterr().err


def test_flags_reach_training_and_evaluation(monkeypatch, tmp_path):
    """Otherwise a flag is accepted and has no effect."""
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "train", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(run_report, "report", lambda *_: None)
    assert run(f"{CONFIG}:no_experts", "--config.model.num_layers=2") == 0
    assert run(CONFIG, "--mode=eval", "--workdir=here", "--config.eval.lengths=(5, 9)") == 0
    (config, workdir, _), (there, evaluated, overrides) = seen
    assert (config.model.num_layers, config.model.experts.count) == (2, 0)
    assert (workdir, there) == (Path("runs/copy_no_experts"), Path("here"))
    assert tuple(evaluated.eval.lengths) == (5, 9)
    assert list(overrides) == ["eval.lengths"]
    assert not flags.FLAGS["workdir"].value, "flags of one call stay for the next"


def test_an_evaluation_by_its_directory_takes_fields_of_the_run(monkeypatch, tmp_path, capsys):
    """No config has to be repeated, and a field that is given is still set and checked."""
    seen, workdir = [], tmp_path / "run"
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(run_report, "report", lambda *_: None)
    workdirs.make_workdir(workdir)
    workdirs.claim_workdir(workdir, plain(copy.get_config("no_experts")))
    command = ["--mode=eval", f"--workdir={workdir}"]
    assert run(*command, "--config.eval.test_sequences=8") == 0
    ((there, config, overrides),) = seen
    assert (there, overrides) == (workdir, {"eval.test_sequences": 8})
    assert (config.model.experts.count, config.eval.test_sequences) == (0, 8)
    assert run(*command, "--config.eval.test_sequence=8") == 2
    line = (
        "unknown config field eval.test_sequence; did you mean --config.eval.test_sequences=8?"
    )
    assert line in capsys.readouterr().err
    assert run(*command, "--print_config") == 0
    assert "  (default 4) " in capsys.readouterr().out


process = partial(entry_point, "main")


def test_help_shows_examples_and_flags(tmp_path):
    code, out, err = process("--help", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "python -m mocanet_jax.main --workdir=runs/copy --mode=eval" in out
    assert "model.experts.count" in out, "fields are not listed"
    assert "no_memory" in out, "ablations are not listed"
    assert "--workdir" in out


def test_a_process_that_refuses_exits_with_2(tmp_path):
    code, out, err = process(CONFIG, "--config.model.expert.count=8", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown config field model.expert.count; did you mean")
    assert len(err.splitlines()) == 1
    code, out, err = process(CONFIG, "--config.model.width=0", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err == "error: config.model: width must be at least 1, not 0\n"
    assert list(tmp_path.iterdir()) == []
