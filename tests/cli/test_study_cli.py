"""The commands of studies: flags, exit codes, and what is left behind."""

import json
from functools import partial

import pytest

from mocanet_jax import ablate, frontier, study_cli
from mocanet_jax.runtime.errors import UserError
from tests.cli.test_cli import CONFIG, ROOT, TEXTS
from tests.processes import entry_point, python
from tests.studies import fake_runs
from tests.studies.fake_runs import FakeRuns

LANGUAGES = f"--config={ROOT / 'configs' / 'formal_language.py'}"


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """(module, arguments, runs) → (exit code, what it printed), in an empty directory."""
    conduct = study_cli.conduct

    def run(module, *arguments, runs=None):
        monkeypatch.setattr(study_cli, "conduct", partial(conduct, start=runs or FakeRuns()))
        monkeypatch.chdir(tmp_path)
        return fake_runs.call(module, arguments, monkeypatch, capsys)

    return run


def test_ablations_from_flags_to_results(command, tmp_path):
    runs = FakeRuns()
    chosen = ["--only=control,no_memory", "--seeds=2", "--config.model.experts.count=8"]
    code, out = command(ablate, CONFIG, *chosen, runs=runs)
    assert code == 0
    assert runs.started == [(name, s) for s in (0, 1) for name in ("control", "no_memory")]
    assert "4 of 4  no_memory  seed 1  accuracy 50.00%" in out
    folder = tmp_path / "runs" / "ablation" / "copy"
    found = json.loads((folder / "ablation.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["control", "no_memory"]
    assert found["overrides"] == {"model.experts.count": 8}
    kept = json.loads((folder / "no_memory" / "seed_1" / "config.json").read_text())
    assert kept["seed"] == 1
    assert not any(head["count"] for head in kept["model"]["memory"]["heads"].values())
    assert kept["model"]["experts"]["count"] == 8
    assert (folder / "ablation.md").exists()
    assert (folder / "ablation.png").exists()


@pytest.mark.parametrize(
    ("module", "flags", "names"),
    [
        (ablate, ["--only=control,no_memory"], ["control", "no_memory"]),
        (frontier, ["--targets=0.5", "--topk=2"], ["dynamic_0.5", "topk_0", "topk_2"]),
    ],
)
def test_a_task_of_a_file_of_several_is_studied(command, tmp_path, module, flags, names):
    """Otherwise formal languages have neither ablations nor frontiers, or all of them share a
    folder."""
    runs = FakeRuns()
    code, _ = command(module, f"{LANGUAGES}:reverse_string", *flags, "--seeds=1", runs=runs)
    assert code == 0
    assert runs.started == [(name, 0) for name in names]
    (folder,) = (tmp_path / "runs").glob("*/formal_language_reverse_string")
    for name in names:
        kept = json.loads((folder / name / "seed_0" / "config.json").read_text())
        assert kept["task"] == "reverse_string"


def test_the_same_command_goes_on(command):
    """Only what failed is run again, and the tables are of all."""
    again = FakeRuns()
    chosen = [CONFIG, "--only=control,no_memory", "--seeds=1", "--out=here"]
    code, out = command(ablate, *chosen, runs=FakeRuns(no_memory=2))
    assert code == 1
    assert "no_memory  seed 0  failed: no such data" in out
    assert "1 of 2 runs failed; logs are in here" in out
    code, out = command(ablate, *chosen, runs=again)
    assert code == 0
    assert again.started == [("no_memory", 0)]
    assert "control  seed 0  accuracy 50.00%  there before" in out


def test_where_every_run_fails_there_is_no_table(command, tmp_path):
    code, _ = command(ablate, CONFIG, "--only=no_memory", "--out=x", runs=FakeRuns(no_memory=2))
    assert code == 1
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["no_memory"]


def test_what_equals_the_control_is_reported_and_not_run(command):
    runs = FakeRuns()
    code, out = command(ablate, TEXTS, "--only=control,no_location", "--seeds=1", runs=runs)
    assert code == 0
    assert out.startswith("no_location equals the control with this config and is not run\n")
    assert runs.started == [("control", 0)]


def test_a_frontier_from_flags_to_results(command, tmp_path):
    runs = FakeRuns()
    code, _ = command(frontier, CONFIG, "--targets=0.5 0.2", "--topk=2", "--seeds=1", runs=runs)
    assert code == 0
    names = ["dynamic_0.2", "dynamic_0.5", "topk_0", "topk_2"]
    assert runs.started == [(name, 0) for name in names]
    folder = tmp_path / "runs" / "frontier" / "copy"
    found = json.loads((folder / "frontier.json").read_text())
    assert [row["name"] for row in found["rows"]] == names


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (ablate, [], "no config given"),
        (ablate, [CONFIG + ":no_memory"], "takes a config file without an ablation"),
        (
            ablate,
            [LANGUAGES + ":parity_check,no_memory"],
            "takes a config file without an ablation",
        ),
        (ablate, [CONFIG, "--only=memory"], "unknown ablation 'memory'; known: control, no_"),
        (ablate, [CONFIG, "--config.seed=3"], "--config.seed is what a study varies"),
        (ablate, [TEXTS, "--only=no_location"], "nothing is left to run"),
        (frontier, [CONFIG, "--targets=0.5 1.5"], r"shares in \[0, 1\], not \[0.5, 1.5\]"),
        (frontier, [CONFIG, "--topk=0"], "from 1 on, not"),
        (frontier, [CONFIG, "--topk=two"], "--topk takes numbers with spaces between"),
        (frontier, [CONFIG, "--targets="], "--targets is empty"),
        (
            frontier,
            [CONFIG, "--config.model.budget.routing=topk"],
            "routing is what the study varies",
        ),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(
    command, tmp_path, module, arguments, message
):
    runs = FakeRuns()
    with pytest.raises(UserError, match=message):
        command(module, *arguments, runs=runs)
    assert runs.started == []
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_flag(tmp_path):
    code, out, _ = entry_point("ablate", "--help", cwd=tmp_path)
    assert code == 0
    for name in ("config", "only", "out", "processes", "seeds"):
        assert f"--{name}: " in out


def test_a_study_that_refuses_exits_with_2(tmp_path):
    code, out, err = entry_point("frontier", CONFIG, "--seeds=0", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err == "error: flag --seeds=0: 0 is not an integer in the range [1, 10000]\n"
    assert list(tmp_path.iterdir()) == []


def test_a_study_itself_does_not_load_jax(tmp_path):
    """Its runs do, each for itself; the memory of one more would be wasted."""
    entries = "mocanet_jax.ablate, mocanet_jax.frontier, mocanet_jax.suite"
    reports = "mocanet_jax.studies.study_report, mocanet_jax.studies.task_suite_report"
    code = f"import sys, {entries}, {reports}; sys.exit('jax' in sys.modules)"
    assert python("-c", code, cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_tiny_study_of_real_runs(tmp_path):
    """Trained, kept on a second request, and refused under another config."""
    tiny = {
        "data.longest": 12,
        "model.width": 16,
        "train.max_steps": 20,
        "train.warmup_steps": 2,
        "train.batch_size": 4,
        "eval.validation_sequences": 16,
        "eval.test_sequences": 16,
        "eval.lengths": (),
        "eval.long_lengths": (),
    }
    chosen = [CONFIG, *(f"--config.{name}={value}" for name, value in tiny.items())]
    chosen += ["--only=control,no_memory,no_location", "--seeds=1", "--out=study"]
    code, out, err = entry_point("ablate", *chosen, "--processes=2", cwd=tmp_path)
    assert (code, err) == (0, ""), out
    found = json.loads((tmp_path / "study" / "ablation.json").read_text())
    control, no_memory, _ = found["rows"]
    assert control["parameters"]["mean"] > no_memory["parameters"]["mean"]
    assert no_memory["usage_writes"]["mean"] == 0
    for row in found["rows"]:
        assert row["flops_per_token"]["mean"] > 0
        assert row["milliseconds_per_step"]["mean"] > 0
    code, out, _ = entry_point("ablate", *chosen, cwd=tmp_path)
    assert code == 0
    assert out.count("there before") == 3
    code, out, _ = entry_point(
        "ablate", *chosen, "--config.model.experts.count=2", cwd=tmp_path
    )
    assert code == 1
    assert out.count("holds a run of another config: model.experts.count (4 there, 2 now)") == 3
