"""Tiny runs that all tests of training share, also those of other workers of pytest-xdist."""

import fcntl
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from tests.language import tiny_language
from tests.train import tiny
from tests.train.text import tiny_text


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder of all workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def trained_once(config, workdir):
    """(directory, what `train` returned), by the first worker that needs it."""
    with open(workdir.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (workdir / "result.json").exists():
            return workdir, json.loads((workdir / "result.json").read_text(encoding="utf-8"))
        return workdir, tiny.train(config, workdir)


@pytest.fixture(scope="session")
def finished(shared):
    """(directory, what `train` returned) of an uninterrupted run. Not to be changed."""
    return trained_once(tiny.config(), shared / "finished_run")


@pytest.fixture(scope="session")
def corpus(shared):
    """The folder of the tiny corpus of texts. Not to be changed."""
    folder = shared / "corpus"
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            tiny_text.write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def finished_text(corpus, shared):
    """As `finished`, of a run on texts."""
    return trained_once(tiny_text.config(corpus), shared / "finished_text_run")


@pytest.fixture(scope="session")
def language_text(shared) -> Path:
    """The file of a small text. Not to be changed."""
    file = shared / "language.txt"
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(tiny_language.text(), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def finished_language(language_text, shared):
    """As `finished`, of a language model."""
    config = tiny_language.config(language_text)
    return trained_once(config, shared / "finished_language_run")


@pytest.fixture(scope="session")
def two_checkpoints(finished_text, corpus, tmp_path_factory):
    """A run with two unlike checkpoints: the best, of step 1, and the latest, of step 2, whose
    parameters have the other sign: (directory, validation by step). Not to be changed."""
    source, last = finished_text[0], tiny_text.STEPS
    workdir = tmp_path_factory.mktemp("two_checkpoints")
    state = tiny_text.state_at(last, source, tiny_text.config(corpus))
    with Checkpoints(source, read_only=True) as checkpoints:
        progress, task = checkpoints.progress(last), checkpoints.record(last).task
    validations = {
        1: {"held_out_loss": 0.5, "accuracy": 0.25, "ece": 0.1, "temperature": 0.5},
        2: {"held_out_loss": 0.6, "accuracy": 0.75, "ece": 0.2, "temperature": 2.0},
    }
    validations = {step: numbers | {"usage": 0.25} for step, numbers in validations.items()}
    with Checkpoints(workdir) as checkpoints:
        checkpoints.task = task
        for step, sign in ((1, 1), (2, -1)):
            average = jax.tree.map(lambda x, sign=sign: sign * x, state.average)
            saved = state._replace(step=jnp.int32(step), average=average)
            progress = progress._replace(validation=validations[step])
            checkpoints.save(saved, progress, validations[step]["held_out_loss"])
    return workdir, validations
