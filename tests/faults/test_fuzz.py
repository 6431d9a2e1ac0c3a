"""Whatever a user types or feeds in, an answer comes in one line: no traceback, no lost run."""

import contextlib
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocanet_jax import cli
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text import labelled
from mocanet_jax.train import loop
from mocanet_jax.train.checkpoints.inspection import inspected
from mocanet_jax.train.restore import restored
from tests.train import tiny
from tests.train.test_loop import contents


def examples(number):
    return settings(max_examples=number, suppress_health_check=list(HealthCheck))


FIELDS = sorted(
    f"{section}.{name}"
    for section, values in tiny.config().items()
    if hasattr(values, "items")
    for name in values
)
junk = st.one_of(
    st.text(max_size=20),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(["", "None", "()", "(1,", "{}", "True", "nan", "1e999", "@", "\x00", "-1"]),
)


@examples(150)
@given(
    st.lists(st.tuples(st.sampled_from([*FIELDS, "seed", "task", "no.such"]), junk), max_size=3)
)
def test_any_flags_give_a_config_or_one_line(pairs):
    arguments = [f"--config.{name}={value}" for name, value in pairs]
    with contextlib.suppress(UserError):
        config = cli.config_of(["--config=configs/copy.py", *arguments])
        assert config.task is not None


@examples(100)
@given(st.lists(junk, max_size=3))
def test_any_arguments_give_a_config_or_one_line(arguments):
    with contextlib.suppress(UserError):
        cli.config_of(arguments)


values = st.one_of(
    st.integers(-3, 300), st.floats(), st.text(max_size=4), st.booleans(), st.just(())
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=2)


def built_or_refused(tmp_path_factory, changes):
    """Short of training: how check, task and model treat values of the wrong kind or size,
    with nothing left in the directory."""
    config = tiny.config().unlock()
    for field, value in changes.items():
        section, name = field.split(".")
        with contextlib.suppress(
            TypeError
        ):  # that of ml_collections, reported when flags are read
            config[section][name] = value
    workdir = tmp_path_factory.mktemp("fuzz") / "run"
    with contextlib.suppress(UserError):
        loop.prepared(config, workdir)
    assert not workdir.exists()


@examples(50)
@given(CHANGES)
def test_any_settings_are_built_or_refused(tmp_path_factory, changes):
    """Each example traces a model."""
    built_or_refused(tmp_path_factory, changes)


@pytest.mark.slow
@examples(1000)
@given(CHANGES)
def test_all_settings_are_built_or_refused(tmp_path_factory, changes):
    """Every field with every kind of value."""
    built_or_refused(tmp_path_factory, changes)


@examples(500)
@given(st.binary(max_size=200))
def test_any_table_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("table") / "train.tsv"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        labelled.read_tsv(path, 2)


@pytest.mark.slow
@examples(100)
@given(st.text(max_size=40))
def test_any_text_is_answered(finished_text, text):
    """A chat must not end because of its input."""
    predictor = _predictor(finished_text[0])
    answer = predictor.predict(text)
    assert answer is None or 0.5 <= answer.confidence <= 1


_kept = {}


def _predictor(workdir):
    return _kept.setdefault(workdir, TextPredictor(workdir))


FILES = ("config.json", "metrics.jsonl", "lock", "saving")


@examples(12)
@given(st.sampled_from(FILES), st.binary(max_size=60))
def test_any_file_in_a_directory_is_used_or_refused(finished, tmp_path_factory, name, content):
    """And checkpoints stay as they are."""
    workdir = tmp_path_factory.mktemp("workdir") / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / name).write_bytes(content)
    before = contents(workdir / "checkpoints")
    with contextlib.suppress(UserError):
        loop.prepared(tiny.config(), workdir)
        restored(workdir)
    assert contents(workdir / "checkpoints") == before
    assert inspected(workdir).sound
