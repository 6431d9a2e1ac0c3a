"""Runs on texts whose steps only count: what is refused before them, and which checkpoint is
chosen."""

import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.evaluate.text import TextEvaluator
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.tasks.text import sst2
from mocanet_jax.tasks.text import task as text
from mocanet_jax.train import loop, run
from mocanet_jax.train.trainer import Faults, Trainer
from tests.train import tiny
from tests.train.text import tiny_text

BARE = {
    "model__memory__heads__content__count": 0,
    "model__classifier__num_members": 1,
    "model__classifier__bidirectional": False,
}
"""Of a model whose answers do not matter: it compiles soon."""


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
        remaining = iter(validations)
        common = {"texts": 40, "ece": 0.1, "temperature": 1.0, "held_out_accuracy": 0.5}
        common["usage"] = 0.2
        monkeypatch.setattr(Trainer, "steps", count)
        monkeypatch.setattr(TextEvaluator, "validate", lambda *_: common | next(remaining))
        monkeypatch.setattr(TextEvaluator, "test", lambda *_: unmeasured)
        config = tiny_text.config(corpus, **BARE | changes)
        result = tiny.train(config, tmp_path / "run", tiny.console())
        assert next(remaining, None) is None
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
    pytest.param(field, *case, id=f"{field} {name}")
    for field, cases in (("pretrained_embeddings", VECTORS), ("eval_file", TEXTS))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("field", "content", "message"), FILES)
def test_a_file_that_cannot_be_used_is_reported_before_anything_is_written(
    corpus, tmp_path, monkeypatch, field, content, message
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
def test_a_split_that_cannot_be_used_is_reported_before_anything_is_written(
    corpus, tmp_path, name
):
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
    validations = [of(0.5, 0.5, 0.5)] * 3
    counted(validations, data__pretrained_embeddings=str(vectors))
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
    ("of_training", "of_validation", "message", "kept"),
    [
        (float("nan"), 0.5, "training diverged: loss is nan at step 1", []),
        (float("inf"), 0.5, "training diverged: loss is inf at step 1", []),
        (1.0, float("nan"), "training diverged: held_out_loss is nan at step 2", ["2"]),
    ],
)
def test_training_that_diverges_says_so(
    counted, tmp_path, monkeypatch, of_training, of_validation, message, kept
):
    """Otherwise it goes on for nothing, and its record is no JSON. Steps before the first
    validation are kept, unvalidated."""
    monkeypatch.setattr(counted, "loss", of_training)
    with pytest.raises(UserError, match=message):
        counted([of(of_validation, 0.5, 0.5)])
    assert all(np.isfinite(list(row.values())).all() for row in read_metrics(tmp_path / "run"))
    steps = (tmp_path / "run" / "checkpoints").iterdir()
    assert [step.name for step in steps] == kept


def of(held_out_loss, loss, accuracy):
    return {"held_out_loss": held_out_loss, "loss": loss, "accuracy": accuracy, "usage": 0.0}


def test_held_out_sentences_choose_the_checkpoint(counted):
    """Otherwise the validation split chooses the model that it is to judge: the best of it is
    the last step here, by loss and by accuracy."""
    result = counted([of(0.9, 0.7, 0.6), of(0.5, 0.8, 0.5), of(0.6, 0.1, 0.9)])
    assert result["evaluated_step"] == 4


def test_training_stops_when_held_out_sentences_are_good_enough(counted):
    """Not when the validation split is."""
    validations = [of(0.9, 0.1, 1.0), of(0.2, 0.8, 0.5)]
    assert counted(validations, train__stop_at_loss=0.3)["evaluated_step"] == 4


def test_a_checkpoint_within_the_budget_is_better_than_any_above_it(counted):
    """Otherwise the model that is reported spends more than its budget: the first one
    here, whose held-out loss is the lowest."""
    spent = ((0.1, 0.35), (0.8, 0.3), (0.7, 0.3))
    validations = [of(loss, 0.1, 1.0) | {"usage": usage} for loss, usage in spent]
    assert counted(validations, model__budget__target=0.3)["evaluated_step"] == 6


def test_training_does_not_stop_above_the_budget(counted):
    """Good enough for the task is not yet good enough for its cost."""
    validations = [of(0.1, 0.1, 1.0) | {"usage": usage} for usage in (0.35, 0.31, 0.3)]
    changes = {"train__stop_at_loss": 0.3, "model__budget__target": 0.3}
    assert counted(validations, **changes)["evaluated_step"] == 6
