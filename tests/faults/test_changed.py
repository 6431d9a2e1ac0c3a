"""What changed, or was lost, between two parts of a run: named and refused, or rebuilt.

To add a case is to add a line to a table.
"""

import json
import os

import pytest
from ml_collections import ConfigDict

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text import tokenizer
from mocanet_jax.tasks.text.labelled import labelled_texts
from mocanet_jax.train.checkpoints import selection
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.checkpoints.inspection import inspected
from mocanet_jax.train.checkpoints.record import Record, read_record, write_record
from mocanet_jax.train.checkpoints.selection import Standing
from mocanet_jax.train.checkpoints.workdir import (
    changed_data,
    check_workdir,
    differing_fields,
    read_config,
)
from mocanet_jax.train.config.settings import override
from tests.train.test_checkpoint import progress, saved

ROWS = [("a warm film", 1), ("it 's dull", 0), ("no wit", 0)]

CHANGED = {
    "a label": [("a warm film", 0), *ROWS[1:]],
    "all labels": [(text, 1 - label) for text, label in ROWS],
    "a word": [("a warm movie", 1), *ROWS[1:]],
    "the order": ROWS[::-1],
    "a row less": ROWS[:2],
    "a row more": [*ROWS, ("fine", 1)],
    "a row twice": [*ROWS, ROWS[0]],
    "words between rows": [("a warm film it", 1), ("'s dull", 0), ROWS[2]],
}
SAME = {
    "nothing": ROWS,
    "capitals": [(text.upper(), label) for text, label in ROWS],
    "spaces": [(f"  {text.replace(' ', '   ')} ", label) for text, label in ROWS],
    "apostrophes": [(text.replace("'", "’"), label) for text, label in ROWS],
}


def recorded(rows):
    texts, labels = map(list, zip(*rows, strict=True))
    return {"data": {"training": labelled_texts(texts, labels).fingerprint()}}


@pytest.mark.parametrize("change", CHANGED)
def test_data_that_changed_is_named_and_refused(change):
    """Labels that were flipped between two parts were silently trained on."""
    before, now = recorded(ROWS), recorded(CHANGED[change])
    with pytest.raises(UserError, match="the training data changed since") as error:
        changed_data(before, now, accepts=False)
    assert "--config.train.on_changed_data=accept" in str(error.value)
    assert len(changed_data(before, now, accepts=True)) == 1


@pytest.mark.parametrize("change", SAME)
def test_data_that_a_model_reads_alike_has_not_changed(change):
    """Another spelling of the file is no reason to refuse it."""
    assert changed_data(recorded(ROWS), recorded(SAME[change]), accepts=False) == []


VALUES = [
    (),
    (1,),
    (1, 2.5),
    ((1, 2), (3,)),
    [],
    [1],
    [(1,), []],
    1,
    1.0,
    -0.0,
    1e-300,
    2**31 - 1,
    True,
    False,
    None,
    "",
    "1",
    "[/old] ünï \udce9",
    {},
    {"a": (), "b": []},
]


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_a_value_of_a_config_comes_back_as_it_was(tmp_path, value):
    """`()` came back as `[]`, and a documented command was refused for it."""
    config = {"own": {"field": value}}
    write_record(tmp_path, Record(progress(config=config), 0.5, {}))
    found = read_record(tmp_path).progress.config
    assert repr(found) == repr(config)
    assert differing_fields(json.loads(json.dumps(config)), config) == []
    restored = ConfigDict(found)
    override(restored, "own.field", ConfigDict(config).own.field)


DIFFERENT = [((1,), (2,)), ((), (1,)), (1, 2), (1.0, 1.5), ("a", "b"), (None, 0), ("1", 1)]


@pytest.mark.parametrize(("value", "other"), DIFFERENT)
def test_a_value_that_differs_is_named(value, other):
    lines = differing_fields({"a": {"b": value}}, {"a": {"b": other}})
    assert lines == [f"a.b ({value} there, {other} now)"]
    with pytest.raises(UserError, match=r"--config\.a\.b=.* contradicts the checkpoint"):
        override(ConfigDict({"a": {"b": value}}), "a.b", other)


LOST = {
    "missing": None,
    "empty": b"",
    "zeros": bytes(100),
    "not UTF-8": b"\xff\xfe{",
    "cut": b'{"model": {"wid',
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "another object": b'{"a": 1}',
    "nested too deeply": b"[" * 100_000,
    "another config": b'{"model": {"width": 1}}',
    "a pipe": os.mkfifo,
}
FILES = ("config.json", "vocabulary.json", "metrics.jsonl", "lock", "saving", "deleting")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"), {1: 0.5})


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", LOST)
def test_a_small_file_that_is_lost_is_no_loss(run, name, damage):
    """All that a later process needs is inside the checkpoints: an empty config.json locked a
    run, and a vocabulary built from today's data changed its answers."""
    content, path = LOST[damage], run / name
    path.unlink(missing_ok=True)
    if callable(content):
        content(path)  # which nobody writes into, so that to read it waits for ever
    elif content is not None:
        path.write_bytes(content)
    try:
        assert inspected(run).sound == [1]
        assert read_config(run) == progress().config
        check_workdir(run, progress().config)
        with Checkpoints(run, read_only=True) as checkpoints:
            assert checkpoints.best_step() == 1
    finally:
        path.unlink(missing_ok=True)


CHOICES = [
    ({1: (0.1, 0.2), 2: (0.3, 0.2)}, 1),
    ({1: (0.1, 0.9), 2: (0.3, 0.2)}, 2),
    ({1: (0.1, 0.9), 2: (0.3, 0.8)}, 1),
    ({1: (0.1, 0.2), 2: (0.1, 0.2)}, 2),
    ({1: (0.1, 0.5), 2: (0.3, 0.2)}, 1),
    ({1: (0.1, 0.2), 2: None}, 1),
    ({1: None, 2: None}, None),
    ({}, None),
]
"""Loss and usage by step, None of one that was not validated, at a target of 0.5; and the step
to use."""


@pytest.mark.parametrize(("found", "step"), CHOICES, ids=str)
def test_the_best_within_the_budget_is_chosen(found, step):
    """A poor model was silently evaluated."""
    standings = {s: pair and Standing(*pair, target=0.5) for s, pair in found.items()}
    assert selection.best(standings) == step
    assert step not in selection.superfluous(standings)


@pytest.mark.parametrize("wrong", ["", "a", "a  film", "film a"])
def test_an_interpreter_that_tokenizes_wrongly_is_refused(monkeypatch, wrong):
    """Some releases of Python match wrongly, and every answer would be of other words."""
    monkeypatch.setattr(tokenizer, "_tokens", lambda text: wrong.split(" "))
    tokenizer.interpreter_fault.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"^Python 3\.\S+ tokenizes 'a film' wrongly"):
            tokenizer.tokenize("a film")
    finally:
        tokenizer.interpreter_fault.cache_clear()


def test_no_pattern_needs_a_possessive_quantifier():
    """Python 3.11.0 to 3.11.4 get them wrong."""
    for pattern in (tokenizer.TOKEN, tokenizer.TAG, tokenizer.ACCENTED, tokenizer.RANGE):
        bare = pattern.pattern.replace("\\+", "").replace("\\*", "").replace("\\?", "")
        assert not any(run in bare for run in ("++", "*+", "?+", "}+", "(?>"))
