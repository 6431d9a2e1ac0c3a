"""Reading beside a training run that deletes checkpoints, and going on in other ways."""

import shutil

import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import restore
from mocanet_jax.train.checkpoints.workdir import CHANGEABLE, check_workdir, claim_workdir
from mocanet_jax.train.config import LANGUAGE_FIELDS
from mocanet_jax.train.config.settings import field, plain
from tests.train import tiny
from tests.train.test_checkpoint import saved


def deleted_while_read(monkeypatch, workdir, steps):
    """The steps that are read, of which these are deleted meanwhile."""
    read = []

    def fake(checkpoints, step, *_):
        read.append(step)
        if step in steps:
            shutil.rmtree(workdir / "checkpoints" / str(step))
        checkpoints.progress(step)
        return step

    monkeypatch.setattr(restore, "_read", fake)
    return read


def test_a_reader_takes_the_next_where_a_checkpoint_is_deleted(tmp_path, monkeypatch):
    """An evaluation beside a training run failed in one of four."""
    workdir = saved(tmp_path, {1: 0.1, 2: 0.5})
    read = deleted_while_read(monkeypatch, workdir, {1})
    assert restore.restored(workdir) == 2
    assert read == [1, 2]


def test_a_requested_step_is_not_replaced_by_another(tmp_path, monkeypatch):
    workdir = saved(tmp_path, {1: 0.1, 2: 0.5})
    deleted_while_read(monkeypatch, workdir, {1})
    with pytest.raises(UserError, match="no checkpoint of step 1; there: 2"):
        restore.restored(workdir, 1)


def test_damage_is_reported_and_not_tried_again(tmp_path, monkeypatch):
    workdir = saved(tmp_path, {1: 0.1, 2: 0.5})
    read = []

    def fake(checkpoints, step, *_):
        read.append(step)
        raise UserError("damaged")

    monkeypatch.setattr(restore, "_read", fake)
    with pytest.raises(UserError, match="damaged"):
        restore.restored(workdir)
    assert read == [1]


OTHER = {str: "skip", int: 7, float: 0.5, tuple: (3,)}
"""Another value by the type of a field."""


OF_OTHER_TASKS = {f"eval.{name}" for name in LANGUAGE_FIELDS["eval"]}
CHANGES = [
    name
    for name in CHANGEABLE
    if name.split(".")[0] in ("train", "model", "eval") and name not in OF_OTHER_TASKS
]


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_change_the_past_may_change(tmp_path, name):
    """A run that stopped early could not go on with another stop criterion."""
    before, after = tiny.config().unlock(), tiny.config().unlock()
    saved_config(tmp_path, before)
    path, _, last = name.rpartition(".")
    value = field(after, name)
    field(after, path)[last] = OTHER[type(value)]
    check_workdir(tmp_path, plain(after))


FIXED = {
    "seed": 1,
    "model.width": 8,
    "train.learning_rate": 0.5,
    "train.warmup_steps": 2,
    "train.batch_size": 8,
    "data.longest": 5,
    "eval.validation_sequences": 9,
}


@pytest.mark.parametrize("name", FIXED)
def test_what_says_how_it_was_trained_stays(tmp_path, name):
    before, after = tiny.config().unlock(), tiny.config().unlock()
    saved_config(tmp_path, before)
    path, _, last = name.rpartition(".")
    (field(after, path) if path else after)[last] = FIXED[name]
    with pytest.raises(UserError, match=f"run of another config: {name} "):
        check_workdir(tmp_path, plain(after))


def saved_config(workdir, config):
    claim_workdir(workdir, plain(config))
