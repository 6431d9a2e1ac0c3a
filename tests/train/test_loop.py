"""Whole runs: what they leave behind, and that stopping, going on and evaluating later give
what an uninterrupted run gives."""

import itertools
import json
import shutil
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from configs import copy
from mocanet_jax.evaluate.results import SequenceResults
from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.report.run import report
from mocanet_jax.report.terminal import TrainingDisplay
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import Recorder, read_metrics
from mocanet_jax.train import clock, loop, run
from mocanet_jax.train.checkpoints import workdir as workdirs
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints, Progress
from mocanet_jax.train.config import settings
from tests.train import tiny

TIMING = ("train/tokens_per_second", "train/minutes", "eval/minutes")
OF_THE_CLOCK = ("wall_seconds", "train_seconds", "train_tokens_per_second")


def contents(directory):
    """Every file below a directory with its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def final_state(workdir, config):
    like = jax.eval_shape(loop.prepared(config, workdir).trainer.initial_state)
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(checkpoints.latest_step(), like)


def rows(workdir):
    """metrics.jsonl without what depends on the clock."""
    return [
        {name: value for name, value in row.items() if name not in TIMING}
        for row in read_metrics(workdir)
    ]


def interrupt_at(monkeypatch, step, group):
    """The run is interrupted when it is about to record this row."""
    write = Recorder.write

    def interrupted(self, at, name, metrics):
        if (at, name) == (step, group):
            raise KeyboardInterrupt
        write(self, at, name, metrics)

    monkeypatch.setattr(Recorder, "write", interrupted)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run that was stopped in its fourth step, after the checkpoint of the second, and
    went on by the same call: (directory, result, what was printed)."""
    workdir, console = tmp_path_factory.mktemp("resumed") / "run", tiny.console()
    with pytest.MonkeyPatch.context() as monkeypatch:
        interrupt_at(monkeypatch, 4, "train")
        with pytest.raises(KeyboardInterrupt):
            tiny.train(tiny.config(), workdir, tiny.console())
    assert [row["step"] for row in read_metrics(workdir)] == [1, 1, 2, 2, 3, 3]
    assert not (workdir / "result.json").exists()
    result = tiny.train(tiny.config(), workdir, console)
    return workdir, result, tiny.printed(console)


def test_resuming_starts_at_the_checkpoint(resumed):
    """Otherwise the comparison below is of two uninterrupted runs."""
    assert f"resuming at step {tiny.SAVE_EVERY}" in resumed[2]


def test_a_resumed_run_ends_in_the_state_of_an_uninterrupted_one(finished, resumed):
    """Bit for bit: parameters, moments of the optimizer, step and curriculum."""
    config = tiny.config()
    one, other = final_state(finished[0], config), final_state(resumed[0], config)
    assert int(one.step) == tiny.STEPS
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_resumed_run_leaves_the_metrics_of_an_uninterrupted_one(finished, resumed):
    """Every row once, every value to the last bit; and the same evaluation."""
    assert rows(resumed[0]) == rows(finished[0])
    assert [row["step"] for row in rows(finished[0])] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for name, value in finished[1].items():
        assert name in OF_THE_CLOCK or resumed[1][name] == value, name


def test_a_run_leaves_its_result(finished):
    """Otherwise what reads results finds a field missing or of another form."""
    workdir, returned = finished
    result = json.loads((workdir / "result.json").read_text())
    assert result == returned
    assert result["task"] == "copy"
    assert result["evaluated_step"] in range(1, tiny.STEPS + 1)
    assert result["trained_steps"] == tiny.STEPS
    assert 0 < result["train_seconds"] < result["wall_seconds"]
    assert result["train_tokens_per_second"] > 0
    assert (result["solved_step"], result["solved_seconds"]) == (None, None)
    (validated,) = (
        row
        for row in rows(workdir)
        if row["step"] == result["evaluated_step"] and "eval/loss" in row
    )
    assert result["validation_loss"] == validated["eval/loss"]
    state = final_state(workdir, tiny.config())
    assert result["parameters"] == sum(x.size for x in jax.tree.leaves(state.params))
    for name in ("eval/accuracy", "eval/exact_match", "eval/usage"):
        assert 0 <= result[name] <= 1, name
    assert 0 < result["eval/flops_per_token"] <= result["flops_per_token"]
    for name in ("eval/accuracy_by_length", "eval/exact_match_by_length"):
        assert list(result[name]) == ["2", "4", "8"]
    assert result["eval/sequences"] == 8


def test_a_run_leaves_its_config_record_and_pictures(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    report(loop.train(tiny.config(), workdir), tiny.console())
    names = {path.name for path in workdir.iterdir() if "tfevents" not in path.name}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "result.json",
        "checkpoints",
        "lock",
        "curves.png",
        "accuracy_by_length.png",
        "memory_layer_0.png",
    }
    config = json.loads((workdir / "config.json").read_text())
    assert config == json.loads(json.dumps(settings.plain(tiny.config())))


def test_evaluation_later_gives_the_numbers_of_the_run(finished):
    """Otherwise a checkpoint is not the model that was reported."""
    workdir, result = finished
    evaluated = tiny.evaluate(tiny.config(), workdir, {})
    assert json.loads((workdir / "eval.json").read_text()) == evaluated
    (workdir / "eval.json").unlink()
    assert list(evaluated) == list(result)
    for name in (*OF_THE_CLOCK, "trained_steps"):  # of the best, not of the end
        evaluated.pop(name)
    assert evaluated.items() <= result.items()


def test_numbers_that_json_does_not_have_are_reported_and_not_written(finished, monkeypatch):
    """Otherwise a model that diverged ends in a traceback, or in a file that no other reader
    of JSON accepts."""
    diverged = SequenceResults({"accuracy": 0.5, "usage": 0.5, "loss": float("nan")}, {})
    monkeypatch.setattr(SequenceEvaluator, "test", lambda *_: diverged)
    with pytest.raises(UserError, match=r"step \d+: the model diverged: .*nan"):
        tiny.evaluate(tiny.config(), finished[0], {})
    assert not (finished[0] / "eval.json").exists()


def test_another_configs_directory_is_refused_and_left_alone(finished):
    """Otherwise one run's record and checkpoints are mixed with another's."""
    workdir = finished[0]
    before = contents(workdir)
    other = tiny.config(model__memory__active_slots=2, seed=5)
    with pytest.raises(UserError) as error:
        tiny.train(other, workdir, tiny.console())
    assert "model.memory.active_slots (3 there, 2 now); seed (0 there, 5 now)" in str(
        error.value
    )
    assert contents(workdir) == before


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    """Otherwise the same command changes a result that was already reported."""
    workdir, result = finished

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(run.Run, "advance", refuse)
    record, console = (workdir / "metrics.jsonl").read_bytes(), tiny.console()
    assert tiny.train(tiny.config(), workdir, console) == result
    assert f"already finished at step {tiny.STEPS}" in tiny.printed(console)
    assert (workdir / "metrics.jsonl").read_bytes() == record


def test_training_stops_when_validation_is_good_enough(tmp_path):
    """Any loss is good enough here, so the first validation ends the run and is kept, although
    no checkpoint was due. Without memory, its pictures are left out and nothing breaks."""
    changes = {"train__stop_at_loss": 100.0, "model__experts__count": 0}
    changes |= {"eval__lengths": (), "eval__long_lengths": ()}
    config, console = tiny.config("no_memory", **changes), tiny.console()
    trained = loop.train(config, tmp_path / "run", TrainingDisplay(console))
    report(trained, console)
    result = trained.summary
    assert result["evaluated_step"] == 1
    assert result["eval/usage"] == 0.0
    assert result["eval/accuracy_by_length"] == {}
    pictures = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert pictures == {"curves.png"}
    again = tiny.console()
    assert tiny.train(config, tmp_path / "run", again) == result
    assert "already finished at step 1" in " ".join(tiny.printed(again).split())


def ticking(monkeypatch, seconds):
    """The loop's clock goes on by so much each time that it is looked at, from 0 on."""
    ticks = itertools.count(0, seconds)
    times = SimpleNamespace(monotonic=lambda: next(ticks), time=time.time)
    monkeypatch.setattr(clock, "time", times)


def test_a_run_ends_when_its_minutes_are_over(tmp_path, monkeypatch):
    """With its validation, checkpoint and result, though none was due. Three looks at the clock
    a step, of 10 s each: the second step ends after a minute. That validation is as good as a
    task needs to count as solved, after two steps of 10 s."""
    changes = {"train__eval_every": 5, "train__save_every": 5, "eval__long_lengths": ()}
    changes |= {"model__experts__count": 0, "eval__lengths": ()}
    config = tiny.config("no_memory", train__max_minutes=1.0, **changes)
    ticking(monkeypatch, 10)
    validate = SequenceEvaluator.validate
    solved = lambda self, params: validate(self, params) | {"accuracy": run.SOLVED}
    monkeypatch.setattr(SequenceEvaluator, "validate", solved)
    result = tiny.train(config, tmp_path / "run", tiny.console())
    assert (result["trained_steps"], result["evaluated_step"]) == (2, 2)
    assert (result["solved_step"], result["solved_seconds"]) == (2, 20.0)
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        kept = checkpoints.progress(2)
    assert kept.finished
    more = tiny.config("no_memory", train__max_minutes=2.0, **changes)
    assert not loop._continued(kept, more, 2).finished, "more minutes train on"
    changes |= {"train__log_every": 5, "train__max_minutes": 1.0}
    other = tiny.config("no_memory", **changes)
    assert loop._continued(kept, other, 2).finished, "an interval is no reason to train on"


@pytest.mark.parametrize("absent", ["train", "model", "eval"])
def test_a_run_of_another_version_is_reported_in_one_line(finished, monkeypatch, absent):
    """Otherwise evaluating an older run ends in a traceback."""
    older = settings.plain(tiny.config())
    del older[absent]
    read = Checkpoints.record

    def record(*at):
        found = read(*at)
        return found._replace(progress=found.progress._replace(config=older))

    monkeypatch.setattr(Checkpoints, "record", record)
    with pytest.raises(UserError, match=f"was trained by another version: .*{absent}") as error:
        tiny.evaluate(tiny.config(), finished[0], {})
    assert len(str(error.value).splitlines()) == 1


def test_a_run_that_goes_on_keeps_what_came_before(monkeypatch):
    """Otherwise one that is often stopped never ends, and counts as solved by the last step at
    which it was good enough."""
    ticking(monkeypatch, 30)
    before = Progress({}, {}, 90.0, 50.0, 0.0, False, solved_step=2, solved_seconds=40.0)
    later = clock.Clock(before)
    assert later.minutes == (90 + 30) / 60
    later.note_solved(4)
    assert later.progress == before


def test_a_config_that_is_no_json_leaves_no_config(tmp_path):
    """Half a file would claim the directory."""
    workdirs.make_workdir(tmp_path / "run")
    with pytest.raises(UserError, match="cannot write into"):
        workdirs.claim_workdir(tmp_path / "run", {"learning_rate": float("nan")})
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.slow
def test_the_published_copy_config_learns_to_copy(tmp_path):
    """The whole claim: exact recall in the range of training, and far beyond it."""
    result = tiny.train(copy.get_config(), tmp_path / "run", tiny.console())
    assert result["eval/accuracy"] >= 0.999
    assert result["eval/exact_match"] >= 0.99
    assert result["eval/accuracy_by_length"]["500"] >= 0.99
