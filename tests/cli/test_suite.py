"""The suite of tasks: which runs it starts, what it chooses by, and what it leaves."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax import suite
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.studies import study
from mocanet_jax.studies.task_suite_report import BEGIN, END, around_results, put_into
from mocanet_jax.tasks.registry import TASKS
from tests.cli.test_cli import ROOT
from tests.processes import entry_point
from tests.studies import fake_runs
from tests.studies.fake_runs import FakeRuns
from tests.studies.test_study_report import tables

CONFIGS = f"--configs={ROOT / 'configs'}"
PARITY = (CONFIGS, "--tasks=parity_check", "--models=lstm")


class Runs(FakeRuns):
    """Those of `results`, by learning rate and seed, differ from fake_runs.RESULT."""

    def __init__(self, results=None, **codes):
        super().__init__(**codes)
        self.results = results or {}

    def reached(self, cell: study.Cell) -> dict:
        rate = cell.variant.settings["learning_rate"]
        return {"eval/accuracy_by_length": {"40": 1.0}} | self.results.get(
            (rate, cell.seed), {}
        )


def by_length(far, farther):
    """The longest length in training is 40."""
    return {"eval/accuracy_by_length": {"10": 1.0, "40": 1.0, "41": far, "500": farther}}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """(arguments, runs) → (exit code, what it printed), in an empty directory."""
    conduct = suite.conduct

    def run(*arguments, runs):
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(suite, "conduct", partial(conduct, start=runs))
        monkeypatch.chdir(tmp_path)
        return fake_runs.call(suite, arguments, monkeypatch, capsys)

    return run


def test_validation_chooses_the_rate_and_the_best_seed(command, tmp_path):
    """Chosen by what is tested, the score would be too high. Here a test says the opposite of
    each validation: the other rate is perfect, and so is seed 1. Seeds 1 and 2 solve it."""
    chosen = {"validation_loss": 0.2} | by_length(0.5, 0.7)
    results = {
        (0.1, 0): {"validation_loss": 0.3} | by_length(1.0, 1.0),
        (0.2, 0): chosen | {"eval/accuracy": 0.9},
        (0.2, 1): chosen | {"validation_loss": 0.21} | by_length(1.0, 1.0),
        (0.2, 2): chosen | {"validation_loss": 0.22} | by_length(0.6, 0.8),
    }
    results[0.2, 1] |= {"solved_step": 100, "solved_seconds": 10.0}
    results[0.2, 2] |= {"solved_step": 300, "solved_seconds": 31.0}
    runs = Runs(results)
    code, out = command(*PARITY, "--learning_rates=0.1 0.2", "--minutes=2", runs=runs)
    assert code == 0
    assert out.startswith("4 runs on 1 tasks, 2 minutes each: at most about 8 min\n")
    assert "2 runs in runs/tasks, 1 at a time; at most about 4 min\n" in out
    lstm = "parity_check/lstm/lr_"
    assert runs.started == [
        (f"{lstm}0.1", 0),
        (f"{lstm}0.2", 0),
        (f"{lstm}0.2", 1),
        (f"{lstm}0.2", 2),
    ]
    folder = tmp_path / "runs" / "tasks"
    assert (folder / "tasks.png").exists()
    text = (folder / "tasks.md").read_text()
    assert "Seeds: 3, at most 2 minutes a run. Learning rates: 0.1, 0.2.\n" in text
    heads, _, row = tables(text)
    assert dict(zip(heads, row, strict=True)) == {
        "task": "parity_check",
        "model": "lstm",
        "beyond, %: best": "60.00",
        "max": "100.00",
        "median": "70.00",
        "worst": "60.00",
        "in training, %: best": "90.00",
        "solved": "2/3",
        "steps to solve": "200",
        "seconds": "20",  # half of 41, to the even number
        "parameters": "1,000",
        "state": "64",
        "bytes of state": "260",
        "learning rate": "0.2",
    }
    (row,) = json.loads((folder / "tasks.json").read_text())["rows"]
    assert row["validation_loss_by_learning_rate"] == {"0.1": 0.3, "0.2": 0.2}
    assert row["best_seed"] == 0
    assert row["score"]["values"] == pytest.approx([0.6, 1.0, 0.7])
    kept = json.loads(
        (folder / lstm.replace("lr_", "lr_0.2") / "seed_2/config.json").read_text()
    )
    assert (kept["model"]["name"], kept["seed"]) == ("lstm", 2)
    assert (kept["train"]["learning_rate"], kept["train"]["max_minutes"]) == (0.2, 2.0)


def test_a_suite_that_was_stopped_goes_on(command, tmp_path):
    """Only what has no result is run, and a model of which every run failed takes no other
    with it. Without rates moca has that of the task's config, and others choose of three;
    beyond training nothing was evaluated here."""
    chosen = [CONFIGS, "--tasks=copy,parity_check", "--models=lstm,moca", "--seeds=2"]
    swept = [f"copy/lstm/lr_{rate}" for rate in (0.0003, 0.001, 0.003)]
    broken = dict.fromkeys(swept, 2)
    code, out = command(*chosen, runs=Runs(**broken))
    assert code == 1
    assert "copy/lstm/lr_0.001  seed 0  failed: no such data" in out
    assert "3 of 11 runs failed; logs are in runs/tasks" in out
    text = (tmp_path / "runs" / "tasks" / "tasks.md").read_text()
    assert text.endswith("copy/lstm/lr_0.003, seed 0 failed: no such data\n")
    named = [row[:3] for row in tables(text)[2:]]
    others = [["parity_check", "lstm", "–"], ["parity_check", "moca", "–"]]
    assert named == [["copy", "moca", "–"], *others]
    again = Runs()
    code, _ = command(*chosen, runs=again)
    assert code == 0
    assert again.started == [*((name, 0) for name in swept), (swept[0], 1)]
    found = json.loads((tmp_path / "runs" / "tasks" / "tasks.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[0, 1]] * 4


def test_a_rate_that_diverges_is_not_chosen(command):
    runs = Runs(**{"parity_check/lstm/lr_0.5": 2})
    code, _ = command(*PARITY, "--learning_rates=0.5 0.1", "--seeds=2", runs=runs)
    assert code == 1
    assert runs.started[-1] == ("parity_check/lstm/lr_0.1", 1)


def test_every_task_of_sequences_takes_part(command, monkeypatch):
    """And no other; of files without a task there are some in the folder too."""
    requests = []
    monkeypatch.setattr(suite, "main", lambda: requests.append(suite.request()))
    command(CONFIGS, "--models=moca", runs=Runs())
    assert {*requests[0].tasks} == {*TASKS} - {"sst2", "text", "language"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configs=nowhere", "--tasks=copy"], "'copy' is no task of sequences in nowhere"),
        ([CONFIGS, "--tasks=sst2"], "'sst2' is no task of sequences"),
        ([CONFIGS, "--tasks=base"], "'base' is no task of sequences"),
        (["--configs=nowhere"], "nothing is left to run"),
        ([*PARITY, "--models=gru"], "--models: unknown model 'gru'; known: moca, "),
        ([*PARITY, "--models="], "nothing is left to run"),
        ([*PARITY, "--learning_rates=0.1 0"], r"above 0, not \[0.1, 0.0\]"),
        ([*PARITY, "--learning_rates=nan"], "takes numbers above 0"),
        ([*PARITY, "--learning_rates=fast"], "takes numbers with spaces between"),
        ([*PARITY, "--minutes=inf"], "max_minutes must be a finite number"),
        ([*PARITY, "--report=plain.md"], "plain.md needs one line <!-- results: begin -->"),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(command, tmp_path, arguments, message):
    (tmp_path / "plain.md").write_text("no marks\n")
    runs = Runs()
    with pytest.raises(UserError, match=message):
        command(*arguments, runs=runs)
    assert runs.started == []
    assert [path.name for path in tmp_path.iterdir()] == ["plain.md"]
    assert (tmp_path / "plain.md").read_text() == "no marks\n"


def test_a_report_has_the_table_of_the_folder(command, tmp_path):
    (tmp_path / "TASKS.md").write_text(f"# Tasks\n{BEGIN}\nold\n{END}\nmore\n")
    code, _ = command(*PARITY, "--seeds=1", "--report=TASKS.md", runs=Runs())
    assert code == 0
    table = (tmp_path / "runs" / "tasks" / "tasks.md").read_text().partition("\n\n")[2]
    expected = f"# Tasks\n{BEGIN}\n\n{table}\n{END}\nmore\n"
    assert (tmp_path / "TASKS.md").read_text() == expected


lines = st.lists(st.text(alphabet="a <!->|", max_size=8), max_size=4).map("\n".join)


@given(before=lines, old=lines, new=lines, after=lines)
def test_what_stands_around_the_results_stays(tmp_path_factory, before, old, new, after):
    """A document's own words are nobody's to change; and a second time changes nothing."""
    path = tmp_path_factory.mktemp("report") / "TASKS.md"
    path.write_text(f"{before}\n{BEGIN}\n{old}\n{END}\n{after}", encoding="utf-8")
    for _ in range(2):
        put_into(path, f"| {new} |\n")
        expected = f"{before}\n{BEGIN}\n\n| {new} |\n\n{END}\n{after}"
        assert path.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("marks", [(), (BEGIN,), (END,), (END, BEGIN), (BEGIN, BEGIN, END)])
def test_a_report_without_its_marks_stays_as_it_is(tmp_path, marks):
    path = tmp_path / "TASKS.md"
    path.write_text(before := "\n".join(["text", *marks, f"the mark {END}"]))
    with pytest.raises(UserError, match="results go between"):
        put_into(path, "table")
    assert path.read_text() == before


def test_the_document_of_tasks_has_its_marks():
    """Otherwise the published command is refused."""
    around_results(ROOT / "docs" / "experiments" / "tasks.md")


TINY = """
from configs import formal_language


def get_config(ablation=None):
    config = formal_language.get_config("reverse_string")
    config.data.update(longest=4, first_longest=2)
    config.model.width = 16
    config.model.experts.hidden_dim = 16
    config.baseline.lstm.width = 16
    config.train.update(batch_size=4, max_steps=20, warmup_steps=2)
    config.eval.update(validation_sequences=16, test_sequences=16, lengths=(2,))
    config.eval.update(long_lengths=(8,), sequences_per_long_length=16)
    return config
"""


@pytest.mark.slow
def test_a_tiny_suite_of_real_runs(tmp_path):
    """Trained, and kept on a second request."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "tiny_reversal.py").write_text(TINY)
    chosen = ["--configs=own", "--models=lstm", "--learning_rates=0.001 0.01", "--seeds=2"]
    code, out, err = entry_point("suite", *chosen, cwd=tmp_path)
    assert (code, err) == (0, ""), out
    found = json.loads((tmp_path / "runs" / "tasks" / "tasks.json").read_text())
    (row,) = found["rows"]
    assert len(row["score"]["values"]) == 2
    assert row["state_size"] == 2 * 16  # hidden and cell of one layer
    code, out, _ = entry_point("suite", *chosen, cwd=tmp_path)
    assert code == 0
    assert out.count("there before") == 3


def test_a_suite_that_refuses_exits_with_2(tmp_path):
    code, out, err = entry_point("suite", "--tasks=paste", CONFIGS, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: --tasks: 'paste' is no task of sequences in ")
    assert len(err.splitlines()) == 1
    assert list(Path(tmp_path).iterdir()) == []
