"""Whole runs on texts: what they leave behind, which checkpoint they choose, and that
stopping, going on and evaluating later give what an uninterrupted run gives."""

import json
import shutil

import jax
import numpy as np
import pytest

from mocanet_jax.report.run import report
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import read_json
from mocanet_jax.runtime.storage.metrics_log import Recorder, read_metrics
from mocanet_jax.tasks.text.labelled import read_tsv
from mocanet_jax.tasks.text.vocabulary import vocabulary_of
from mocanet_jax.train import build, loop, run
from mocanet_jax.train.config.settings import plain
from tests.train import tiny
from tests.train.text import tiny_text

OF_THE_CLOCK = (
    "wall_seconds",
    "train_seconds",
    "train_tokens_per_second",
    "train/tokens_per_second",
    "train/minutes",
    "eval/minutes",
)


def timeless(row):
    return {name: value for name, value in row.items() if name not in OF_THE_CLOCK}


@pytest.fixture(scope="module")
def resumed(corpus, tmp_path_factory):
    """A run that was stopped in its fourth step, after the checkpoint of the second, and went
    on by the same call: (directory, result)."""
    workdir, config = tmp_path_factory.mktemp("resumed") / "run", tiny_text.config(corpus)
    write = Recorder.write

    def interrupted(self, step, *row):
        if step == 4:
            raise KeyboardInterrupt
        write(self, step, *row)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Recorder, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(config, workdir, tiny.console())
    console = tiny.console()
    result = tiny.train(config, workdir, console)
    assert f"resuming at step {tiny_text.SAVE_EVERY}" in tiny.printed(console)
    return workdir, result


@pytest.mark.slow
def test_a_resumed_run_ends_in_the_state_of_an_uninterrupted_one(
    finished_text, resumed, corpus
):
    """Bit for bit: parameters, their average, moments of the optimizer, and step. Otherwise
    batches, dropout or the average depend on more than the seed and the step."""
    config, last = tiny_text.config(corpus), tiny_text.STEPS
    one, other = (tiny_text.state_at(last, run[0], config) for run in (finished_text, resumed))
    assert int(one.step) == last
    assert one.average is not None
    jax.tree.map(np.testing.assert_array_equal, one, other)
    same = jax.tree.map(np.array_equal, one.params, one.average)
    assert not any(jax.tree.leaves(same)), "an average of its own"


@pytest.mark.slow
def test_a_resumed_run_leaves_the_metrics_of_an_uninterrupted_one(finished_text, resumed):
    """Every row once, every value to the last bit; and the same evaluation."""
    one, other = ([*map(timeless, read_metrics(run[0]))] for run in (finished_text, resumed))
    assert one == other
    assert [row["step"] for row in one] == [1, 2, 2, 3, 4, 4, 5, 6, 6]
    assert timeless(finished_text[1]) == timeless(resumed[1])


def test_a_run_leaves_its_result(finished_text, corpus):
    """Otherwise what reads results finds a field missing or of another form."""
    workdir, returned = finished_text
    result = json.loads((workdir / "result.json").read_text())
    assert result == returned
    assert result["task"] == "sst2"
    assert result["train_tokens_per_second"] > 0
    params = tiny_text.state_at(tiny_text.STEPS, workdir, tiny_text.config(corpus)).params
    assert result["parameters"] == sum(x.size for x in jax.tree.leaves(params))
    assert 0 < result["eval/flops_per_token"] <= result["flops_per_token"]
    for name in ("accuracy", "f1", "ece", "usage"):
        assert 0 <= result[f"eval/{name}"] <= 1, name
    assert result["eval/loss"] > 0
    validation = read_tsv(corpus / "dev.tsv", 2)
    assert result["eval/texts"] == len(validation)
    texts, accuracy = result["eval/texts_by_length"], result["eval/accuracy_by_length"]
    assert list(texts) == list(accuracy) == ["5", "10", "15"]
    right = sum(accuracy[end] * texts[end] for end in texts)
    assert right == pytest.approx(result["eval/accuracy"] * len(validation))
    confusion = result["eval/confusion"]
    hits = sum(confusion[name][name] for name in ("negative", "positive"))
    assert hits == pytest.approx(right)
    for label, name in enumerate(("negative", "positive")):
        assert sum(confusion[name].values()) == (validation.labels == label).sum()
    mistakes = result["eval/worst_mistakes"]
    assert len(mistakes) == len(validation) - hits
    labels = dict(zip(validation.texts, validation.labels, strict=True))
    for mistake in mistakes:
        label, predicted = mistake["label"], mistake["predicted"]
        assert {label, predicted} == {"negative", "positive"}
        assert labels[mistake["text"]] == (label == "positive")
    confidences = [mistake["confidence"] for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)


def test_a_run_leaves_its_config_vocabulary_record_and_pictures(
    finished_text, corpus, tmp_path
):
    """Otherwise a later process cannot read texts as training did, or nobody sees the run."""
    workdir = shutil.copytree(finished_text[0], tmp_path / "run")
    report(loop.train(tiny_text.config(corpus), workdir), tiny.console())
    names = {path.name for path in workdir.iterdir() if "tfevents" not in path.name}
    assert names == {
        "config.json",
        "vocabulary.json",
        "metrics.jsonl",
        "result.json",
        "checkpoints",
        "lock",
        "curves.png",
        "reliability.png",
        "accuracy_by_length.png",
    }
    for picture in workdir.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    config = tiny_text.config(corpus)
    written = json.loads((workdir / "config.json").read_text())
    assert written == json.loads(json.dumps(plain(config)))
    fresh = build.build_task(config, corpus)
    assert vocabulary_of(read_json(workdir / "vocabulary.json")) == fresh.vocabulary
    assert set(fresh.vocabulary.words) == set().union(*fresh.train_texts.tokens)


def test_the_record_has_training_and_validation(finished_text):
    """Otherwise curves and comparisons look for numbers that are not there."""
    train, validation = {}, {}
    for row in read_metrics(finished_text[0]):
        (validation if "eval/accuracy" in row else train)[row["step"]] = row
    assert list(train) == [1, 2, 3, 4, 5, 6]
    assert list(validation) == [2, 4, 6]
    for row in train.values():
        assert {"train/loss", "train/accuracy", "train/usage", "train/tokens"} <= row.keys()
        assert 0 < row["train/tokens"] <= 8 * 8
        assert 0 <= row["train/accuracy"] <= 1
        assert "train/longest" not in row, "of a curriculum, which texts do not have"
    for row in validation.values():
        held_out = {"eval/held_out_loss", "eval/held_out_accuracy", "eval/temperature"}
        assert held_out | {"eval/loss", "eval/f1", "eval/ece"} <= row.keys()


def test_the_loss_is_the_sum_of_its_logged_terms(finished_text):
    """Otherwise something is trained for that no record shows."""
    terms = ("task_loss", "budget_loss", "balance_loss", "z_loss")
    for row in read_metrics(finished_text[0]):
        if "train/loss" in row:
            total = sum(row[f"train/{name}"] for name in terms)
            assert row["train/loss"] == pytest.approx(total, rel=1e-6)


@pytest.fixture
def moved(finished_text, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished_text[0], tmp_path / "run")


def test_evaluation_later_gives_the_numbers_of_the_run(finished_text, corpus, moved, tmp_path):
    """Otherwise a checkpoint is not the model that was reported. The training texts are gone
    here: vocabulary and temperature must come from the run."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(corpus / "dev.tsv", elsewhere)
    config, overrides = tiny_text.config(elsewhere), {"data.path": str(elsewhere)}
    evaluated = tiny.evaluate(config, moved, overrides)
    assert json.loads((moved / "eval.json").read_text()) == evaluated
    assert list(evaluated) == list(finished_text[1])
    up_to_the_best = {"trained_steps": evaluated["evaluated_step"]}
    assert timeless(evaluated) == timeless(finished_text[1]) | up_to_the_best


def test_evaluation_reads_the_file_that_it_is_given(finished_text, corpus, moved, tmp_path):
    """Otherwise numbers of the validation split are reported under another name. Here all
    labels are exchanged, and with them right and wrong."""
    validation = read_tsv(corpus / "dev.tsv", 2)
    rows = [(text, 1 - label) for text, label in zip(*validation[::2], strict=True)]
    file = tiny_text.write_tsv(tmp_path / "mine.tsv", [*rows, ("a film", 1)])
    config = tiny_text.config(corpus, data__eval_file=str(file))
    overrides = {"data.eval_file": str(file)}
    evaluated = tiny.evaluate(config, moved, overrides)
    assert evaluated["eval/texts"] == len(rows) + 1
    wrong = round((1 - finished_text[1]["eval/accuracy"]) * len(rows))
    assert round(evaluated["eval/accuracy"] * (len(rows) + 1)) in (wrong, wrong + 1)
    missing = {"data.eval_file": str(tmp_path / "none.tsv")}
    with pytest.raises(UserError, match=r"none\.tsv cannot be read: No such file"):
        tiny.evaluate(config, moved, missing)


def test_evaluation_refuses_another_vocabulary(moved, corpus):
    """Otherwise numbers of one model are reported under the settings of another."""
    config, overrides = tiny_text.config(corpus), {"data.num_pieces": 32}
    with pytest.raises(UserError, match=r"data\.num_pieces=32 contradicts .* trained with 64"):
        tiny.evaluate(config, moved, overrides)


def test_a_finished_run_is_not_trained_again(finished_text, corpus, monkeypatch):
    """Otherwise the same command changes a result that was already reported."""
    workdir, result = finished_text
    monkeypatch.setattr(run.Run, "advance", lambda *_: pytest.fail("trained again"))
    assert tiny.train(tiny_text.config(corpus), workdir, tiny.console()) == result
