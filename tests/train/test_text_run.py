"""Whole runs on texts: what they leave behind, which checkpoint they choose, and that
stopping, going on and evaluating later give what an uninterrupted run gives."""

import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.evaluate.text import TextEvaluator
from mocanet_jax.report.run import report
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.files import read_json
from mocanet_jax.runtime.metrics_log import Recorder, read_metrics
from mocanet_jax.tasks.text import sst2
from mocanet_jax.tasks.text import task as text
from mocanet_jax.tasks.text.labelled import read_tsv
from mocanet_jax.tasks.text.vocabulary import vocabulary_of
from mocanet_jax.train import build, loop, run
from mocanet_jax.train.config.settings import plain
from mocanet_jax.train.trainer import Faults, Trainer
from tests.train import tiny, tiny_text

OF_THE_CLOCK = (
    "wall_seconds",
    "train_seconds",
    "train_tokens_per_second",
    "train/tokens_per_second",
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
    same["members"].pop("price")  # 0 until the budget is exceeded
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


def test_the_record_tells_training_and_validation(finished_text):
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


BARE = {
    "model__memory__heads__content__count": 0,
    "model__classifier__num_members": 1,
    "model__classifier__bidirectional": False,
}
"""Of a model that is not asked anything: it compiles soon."""


@pytest.fixture
def counted(corpus, tmp_path, monkeypatch):
    """Trains with steps that only count, on validations as they are given; returns what
    `train` returned. Its attribute `loss` is that of the steps."""

    def count(trainer, state, count, seed, data, chosen):
        names = ("loss", "accuracy", "usage", "tokens")
        metrics = dict.fromkeys(names, jnp.ones(())) | {"loss": jnp.float32(train.loss)}
        none = Faults(jnp.int32(0), jnp.int32(-1), {})
        return state._replace(step=state.step + count), metrics, none

    unmeasured = SimpleNamespace(entries=lambda: {"eval/usage": 0.0})

    def train(validations, **changes):
        told = iter(validations)
        common = {"texts": 40, "ece": 0.1, "temperature": 1.0, "held_out_accuracy": 0.5}
        common["usage"] = 0.2
        monkeypatch.setattr(Trainer, "steps", count)
        monkeypatch.setattr(TextEvaluator, "validate", lambda *_: common | next(told))
        monkeypatch.setattr(TextEvaluator, "test", lambda *_: unmeasured)
        config = tiny_text.config(corpus, **BARE | changes)
        result = tiny.train(config, tmp_path / "run", tiny.console())
        assert next(told, None) is None
        return result

    train.loss = 1.0
    return train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data__path": "none"},
            "none: there is no train.tsv; --config.data.path takes a folder",
        ),
        ({"data__buckets": (4, 4)}, "buckets must be rising lengths from 1 on"),
        ({"data__buckets": ()}, "buckets must be rising lengths from 1 on"),
        ({"data__min_freq": 0}, "min_freq and max_vocab_size must be at least 1"),
        ({"data__held_out": 0.001}, "held_out=0.001 leaves 120 of 120 texts to train on and 0"),
        ({"data__held_out": 0.999}, "leaves 0 of 120 texts to train on"),
        ({"data__num_pieces": 1}, "num_pieces must be at least 2"),
        ({"model__classifier__num_members": 0}, "num_members must be at least 1, not 0"),
        ({"model__classifier__piece_dim": 0}, "piece_dim must be at least 1, not 0"),
        ({"model__classifier__dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        (
            {"model__classifier__word_dropout": -0.1},
            r"word_dropout must be in \[0, 1\), not -0.1",
        ),
        (
            {"model__classifier__embedding_dropout": 1.5},
            r"embedding_dropout must be in \[0, 1\)",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    corpus, changes, message, tmp_path
):
    """Otherwise the mistake shows as a traceback out of a library, or after minutes."""
    with pytest.raises(UserError, match=message):
        tiny.train(tiny_text.config(corpus, **changes), tmp_path / "run", tiny.console())
    assert list(tmp_path.iterdir()) == []


VECTORS = {
    "missing": (None, r"cannot be read: No such file"),
    "malformed": ("film 1 x", r"line 1: 2 numbers, but config\.model\.width is 16"),
    "of no known word": ("Film" + 16 * " 1", "has no word of the vocabulary"),
}
TEXTS = {
    "missing": (None, r"cannot be read: No such file"),
    "malformed": ("sentence\tlabel\na film\t2\n", "line 2: the label must be a whole number"),
}
FILES = [
    *(("pretrained_embeddings", name, *case) for name, case in VECTORS.items()),
    *(("eval_file", name, *case) for name, case in TEXTS.items()),
]


@pytest.mark.parametrize(("field", "name", "content", "message"), FILES)
def test_a_file_that_cannot_be_used_is_told_before_anything_is_written(
    corpus, tmp_path, monkeypatch, field, name, content, message
):
    """Otherwise it shows after minutes, and the corrected command is refused, since the
    directory then holds the wrong one."""
    monkeypatch.setattr(run.Run, "advance", lambda *_: pytest.fail("training was started"))
    file = tmp_path / "file.txt"
    if content is not None:
        file.write_text(content)
    config = tiny_text.config(corpus, **BARE, **{f"data__{field}": str(file)})
    with pytest.raises(UserError, match=rf"file\.txt.*{message}"):
        tiny.train(config, tmp_path / "run", tiny.console())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
def test_a_split_that_cannot_be_used_is_told_before_anything_is_written(corpus, tmp_path, name):
    """As above, of what the folder holds."""
    folder = shutil.copytree(corpus, tmp_path / "corpus")
    (folder / name).write_text("sentence\tlabel\n")
    with pytest.raises(UserError, match=rf"{name}: no rows below the header"):
        tiny.train(tiny_text.config(folder), tmp_path / "run", tiny.console())
    assert not (tmp_path / "run").exists()


def test_files_are_read_once(counted, corpus, tmp_path, monkeypatch):
    """Otherwise a run starts later than it need."""
    met = []
    for name in ("read_vectors", "read_tsv"):
        for module in (text, sst2):
            if read := getattr(module, name, None):
                noted = lambda path, *more, read=read: (
                    met.append(path.name) or read(path, *more)
                )
                monkeypatch.setattr(module, name, noted)
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film " + " ".join(map(str, range(16))))
    told = [of(0.5, 0.5, 0.5)] * 3
    counted(told, data__pretrained_embeddings=str(vectors))
    assert sorted(met) == ["dev.tsv", "train.tsv", "vectors.txt"]


def test_a_run_that_goes_on_needs_its_files_before_its_first_step(
    counted, corpus, tmp_path, monkeypatch
):
    """Otherwise it trains up to a validation that cannot be made."""
    file = tmp_path / "mine.tsv"
    shutil.copy(corpus / "dev.tsv", file)
    save = loop.Checkpoints.save

    def interrupted(self, *arguments):
        save(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.Checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            counted([of(0.5, 0.5, 0.5)], data__eval_file=str(file))
    record = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    file.unlink()
    with pytest.raises(UserError, match=r"mine\.tsv cannot be read"):
        counted([], data__eval_file=str(file))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == record


@pytest.mark.parametrize(
    ("of_training", "of_validation", "message"),
    [
        (float("nan"), 0.5, "training diverged: loss is nan at step 1"),
        (float("inf"), 0.5, "training diverged: loss is inf at step 1"),
        (1.0, float("nan"), "training diverged: held_out_loss is nan at step 2"),
    ],
)
def test_training_that_diverges_says_so(
    counted, tmp_path, monkeypatch, of_training, of_validation, message
):
    """Otherwise it goes on for nothing, and its record is no JSON."""
    monkeypatch.setattr(counted, "loss", of_training)
    with pytest.raises(UserError, match=message):
        counted([of(of_validation, 0.5, 0.5)])
    assert all(np.isfinite(list(row.values())).all() for row in read_metrics(tmp_path / "run"))
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def of(held_out_loss, loss, accuracy):
    return {"held_out_loss": held_out_loss, "loss": loss, "accuracy": accuracy, "usage": 0.0}


def test_held_out_sentences_choose_the_checkpoint(counted):
    """Otherwise the validation split chooses the model that it is to judge: the best of it is
    the last step here, by loss and by accuracy."""
    result = counted([of(0.9, 0.7, 0.6), of(0.5, 0.8, 0.5), of(0.6, 0.1, 0.9)])
    assert result["evaluated_step"] == 4


def test_training_stops_when_held_out_sentences_are_good_enough(counted):
    """Not when the validation split is."""
    told = [of(0.9, 0.1, 1.0), of(0.2, 0.8, 0.5)]
    assert counted(told, train__stop_at_loss=0.3)["evaluated_step"] == 4


def test_a_checkpoint_within_the_budget_is_better_than_any_above_it(counted):
    """Otherwise the model that is reported spends more than it was asked to: the first one
    here, whose held-out loss is the lowest."""
    told = [of(0.1, 0.1, 1.0), of(0.8, 0.1, 1.0), of(0.7, 0.1, 1.0)]
    told = [row | {"usage": usage} for row, usage in zip(told, (0.35, 0.3, 0.3), strict=True)]
    assert counted(told, model__budget__target=0.3)["evaluated_step"] == 6


def test_training_does_not_stop_above_the_budget(counted):
    """Good enough for the task is not yet good enough for its price."""
    told = [of(0.1, 0.1, 1.0) | {"usage": usage} for usage in (0.35, 0.31, 0.3)]
    changes = {"train__stop_at_loss": 0.3, "model__budget__target": 0.3}
    assert counted(told, **changes)["evaluated_step"] == 6
