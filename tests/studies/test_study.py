"""Running a study, and its statistics."""

import itertools
import signal
from types import SimpleNamespace

import pytest

from mocanet_jax.studies import study
from mocanet_jax.studies.variants import Variant
from mocanet_jax.study_cli import start_run
from tests.studies import fake_runs
from tests.studies.fake_runs import FakeRuns, failed, outcome, variant

CONTROL, OTHER = variant("control"), variant("no_memory")


def cells(folder, *variants, seeds=1):
    return [
        study.Cell(one, seed, folder / one.name / f"seed_{seed}")
        for seed in range(seeds)
        for one in variants
    ]


def run(cells, runs, processes=1):
    """(outcomes, how many had ended at each word of one)."""
    reported = []
    return study.run(cells, processes, lambda count, _: reported.append(count), runs), reported


def test_every_cell_runs_and_is_reported(tmp_path):
    runs = FakeRuns()
    outcomes, reported = run(cells(tmp_path, CONTROL, OTHER, seeds=2), runs)
    assert runs.started == [
        ("control", 0),
        ("no_memory", 0),
        ("control", 1),
        ("no_memory", 1),
    ]
    assert reported == [1, 2, 3, 4]
    assert all(one.result == fake_runs.RESULT for one in outcomes)
    assert all(one.seconds is not None for one in outcomes)


def test_a_cell_with_a_result_is_not_run_again(tmp_path):
    """Otherwise a study that was stopped begins again."""
    done, missing = cells(tmp_path, CONTROL, seeds=2)
    fake_runs.leave_result(done)
    runs = FakeRuns()
    outcomes, _ = run([done, missing], runs)
    assert runs.started == [("control", 1)]
    assert [one.result for one in outcomes] == [fake_runs.RESULT] * 2
    assert outcomes[0].seconds is None


def test_a_result_of_another_config_is_not_taken(tmp_path):
    """The run is started, and refuses the directory in its own words."""
    (cell,) = cells(tmp_path, CONTROL)
    fake_runs.leave_result(cell, config={"name": "control", "seed": 7})
    runs = FakeRuns(control=2)
    outcomes, _ = run([cell], runs)
    assert runs.started == [("control", 0)]
    assert outcomes[0].result is None


def test_a_failing_cell_reports_its_last_line_and_the_others_go_on(tmp_path):
    outcomes, _ = run(cells(tmp_path, CONTROL, OTHER), FakeRuns(control=2))
    assert [one.problem for one in outcomes] == ["no such data", ""]
    assert [one.result is None for one in outcomes] == [True, False]


@pytest.mark.parametrize(
    ("code", "log", "problem"),
    [
        (-9, "compiled\n", "ended by signal 9; see {log}"),
        (1, "", "it printed nothing"),
        (1, "Traceback\n  x\nValueError: no\n\n", "ValueError: no"),
        (0, "almost\n", "it left no result; almost"),
    ],
)
def test_a_problem_is_reported_in_one_line(tmp_path, code, log, problem):
    (cell,) = cells(tmp_path, CONTROL)

    def start(cell):
        cell.log.parent.mkdir()
        cell.log.write_text(log)
        return fake_runs.FakeProcess(code)

    outcomes, _ = run([cell], start)
    assert outcomes[0].problem == problem.format(log=cell.log)


def test_a_run_that_refuses_is_heard(tmp_path):
    """The real process: its message comes through as one line."""
    cell = study.Cell(
        Variant("control", ("--config=none.py",), {}, {}), 0, tmp_path / "control" / "seed_0"
    )
    (one,) = study.run([cell], 1, lambda *_: None, start_run)
    assert one.problem.startswith("--config=none.py: no such file, and no config of this name")
    assert not cell.workdir.exists()


def test_no_more_run_at_a_time_than_requested(tmp_path):
    alive, most = [], []

    class Slow(fake_runs.FakeProcess):
        polls = 0

        def poll(self):
            self.polls += 1
            if self.polls == 2:
                self.returncode = 0
                alive.remove(self)
            return self.returncode

    def start(cell):
        fake_runs.leave_result(cell)
        alive.append(Slow(None))
        most.append(len(alive))
        return alive[-1]

    outcomes, _ = run(cells(tmp_path, CONTROL, OTHER, seeds=3), start, processes=2)
    assert len(outcomes) == 6
    assert max(most) == 2


def test_an_interrupted_study_leaves_no_process_behind(tmp_path, monkeypatch):
    """Running processes get SIGINT, then SIGKILL; results of those that ended stay."""
    monkeypatch.setattr(study, "GRACE_SECONDS", 0.0)
    runs = FakeRuns(no_memory=None)

    def interrupt(*_):
        raise KeyboardInterrupt

    both = cells(tmp_path, CONTROL, OTHER)
    with pytest.raises(KeyboardInterrupt):
        study.run(both, 2, interrupt, runs)
    assert runs.processes["no_memory"].signals == [signal.SIGINT, signal.SIGKILL]
    assert runs.processes["control"].signals == []
    assert both[0].result() == fake_runs.RESULT


def test_lines_name_variant_seed_accuracy_and_time(tmp_path):
    runs, lines = FakeRuns(no_memory=2), []
    study.conduct([CONTROL, OTHER], [0], 1, tmp_path, lines.append, runs)
    assert lines == [
        f"2 runs in {tmp_path}, 1 at a time",
        "1 of 2  control  seed 0  accuracy 50.00%  0 s",
        "about 0 s for 1 more, if each takes as long",
        "2 of 2  no_memory  seed 0  failed: no such data",
    ]
    lines.clear()
    study.conduct([CONTROL], [0], 1, tmp_path, lines.append, runs)
    assert lines[1] == "1 of 1  control  seed 0  accuracy 50.00%  there before"


def test_a_study_says_how_long_it_takes(tmp_path, monkeypatch):
    """Where minutes are limited, before anything starts; else after the first run that was
    not there before and ended well. Two processes halve it."""
    ticks = itertools.count(0, 90)
    times = SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _: None)
    monkeypatch.setattr(study, "time", times)
    limited = CONTROL._replace(config={"train": {"max_minutes": 100.0}})
    lines = []
    study.conduct([limited], range(3), 2, tmp_path / "a", lines.append, FakeRuns())
    assert lines[0] == f"3 runs in {tmp_path / 'a'}, 2 at a time; at most about 2 h 30 min"
    assert len(lines) == 4
    fake_runs.leave_result(cells(tmp_path, CONTROL)[0])
    lines.clear()
    runs = FakeRuns(no_memory=2)
    study.conduct([CONTROL, OTHER], range(3), 1, tmp_path, lines.append, runs)
    assert lines[0] == f"6 runs in {tmp_path}, 1 at a time"
    assert [n for n, line in enumerate(lines) if line.startswith("about ")] == [4]
    assert lines[3].startswith("3 of 6  control  seed 1  ")
    assert lines[4] == "about 4 min for 3 more, if each takes as long"
    lines.clear()
    study.conduct([CONTROL], range(3), 1, tmp_path, lines.append, FakeRuns())
    assert not any("about" in line for line in lines), "all results are there"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (5400, "1 h 30 min")]
)
def test_durations_in_words(seconds, words):
    assert study.duration(seconds) == words


def test_mean_and_range_of_three_values():
    """One seed that fails and two that do not had an interval of 276 points."""
    spread = study.Spread((1.0, 0.25, 0.5))
    assert (spread.lowest, spread.highest) == (0.25, 1.0)
    assert spread.mean == pytest.approx(1.75 / 3)


def test_rows_by_hand():
    """Two seeds of the control; of the other variant one more, and of it one failed."""
    outcomes = [
        outcome(CONTROL, 1, accuracy=0.5),
        outcome(OTHER, 0, accuracy=0.5),
        outcome(CONTROL, 0, accuracy=0.75),
        outcome(OTHER, 2, accuracy=0.0),
        failed(OTHER, 1, "no memory"),
    ]
    control, other = study.rows([CONTROL, OTHER, variant("absent")], outcomes)
    assert (control.seeds, other.seeds) == ((0, 1), (0, 2))
    assert control.measured["accuracy"].values == (0.75, 0.5)
    assert control.difference is None
    assert other.difference == study.Spread((-0.25,))  # seed 0, which both have
    assert other.measured["milliseconds_per_step"].mean == 25.0
    assert other.measured["steps"].mean == 200
    assert "exact_match" not in other.measured


def test_without_a_control_there_is_no_difference():
    (row,) = study.rows([OTHER], [outcome(OTHER, 0)])
    assert row.difference is None
