"""Parameters that a run starts from: of the same path, with rows matched by word."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.vocabulary import Vocabulary
from mocanet_jax.train import loop, transfer
from mocanet_jax.train.transfer import started_from
from tests.train import tiny

WORKDIR = Path("runs/other")


def numbers(*shape, first=0):
    return first + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def task(*names):
    return SimpleNamespace(vocabulary=SimpleNamespace(names=names))


@pytest.fixture
def from_run(monkeypatch):
    """(params and words of the other run, those of this) → Taken."""

    def run(theirs, their_words, params, words):
        other = SimpleNamespace(
            trained=SimpleNamespace(params=theirs), task=task(*their_words), step=7
        )
        monkeypatch.setattr(transfer, "restored", lambda workdir: other)
        return started_from(WORKDIR, task(*words), params)

    return run


def test_what_has_another_shape_or_is_not_there_stays_fresh(from_run):
    theirs = {"a": numbers(2, 3), "b": numbers(4), "gone": numbers(2)}
    fresh = {"a": -numbers(2, 3), "b": -numbers(5), "c": {"d": -numbers(1)}}
    params, lines = from_run(theirs, (), fresh, ())
    np.testing.assert_array_equal(params["a"], theirs["a"])
    np.testing.assert_array_equal(params["b"], fresh["b"])
    np.testing.assert_array_equal(params["c"]["d"], fresh["c"]["d"])
    assert lines == [
        "started from runs/other, step 7: 6 of 12 parameters",
        "not there, or of another shape, and fresh: b, c/d",
    ]


@pytest.mark.parametrize("same_size", [False, True])
def test_rows_are_matched_by_word(from_run, same_size):
    """Numbers of words depend on their frequency; by number, "good" would start as "bad". The
    same number of words does not mean the same words."""
    old, new = ("<unk>", "good", "bad"), ("bad", "good", "fine", "<unk>")
    new = new[1:] if same_size else new
    theirs = {"embed": numbers(3, 2), "head": numbers(2, 3)}
    fresh = {"embed": -numbers(len(new), 2, first=1), "head": -numbers(2, len(new), first=1)}
    params, lines = from_run(theirs, old, fresh, new)
    for row, word in enumerate(new):
        known = word in old
        embed = theirs["embed"][old.index(word)] if known else fresh["embed"][row]
        head = theirs["head"][:, old.index(word)] if known else fresh["head"][:, row]
        np.testing.assert_array_equal(params["embed"][row], embed)
        np.testing.assert_array_equal(params["head"][:, row], head)
    shared = 2 if same_size else 3
    assert lines[1:] == [f"{name}: {shared} of {len(new)} words" for name in ("embed", "head")]


def test_a_classifier_starts_from_a_language_model(from_run):
    """Every member takes the layers, and the word table under its other name."""
    words = ("<pad>", "<unk>", "good")
    theirs = {"embed": {"embedding": numbers(2, 4)}, "layers_0": {"w": numbers(4)}}
    table = {"words": {"embedding": -numbers(2, 3, 4, first=1)}}
    fresh = {"members": {"embed": table, "layers_0": {"w": -numbers(2, 4)}}}
    params, _ = from_run(theirs, ("good", "<unk>"), fresh, words)
    members = params["members"]
    np.testing.assert_array_equal(
        members["layers_0"]["w"], np.stack([theirs["layers_0"]["w"]] * 2)
    )
    found = np.asarray(members["embed"]["words"]["embedding"])
    for member in range(2):
        np.testing.assert_array_equal(found[member, 1:], theirs["embed"]["embedding"][[1, 0]])
    np.testing.assert_array_equal(found[:, 0], table["words"]["embedding"][:, 0])


def test_members_of_ensembles_of_other_sizes(from_run):
    theirs, fresh = {"members": {"w": numbers(2, 3)}}, {"members": {"w": -numbers(3, 3)}}
    params, _ = from_run(theirs, (), fresh, ())
    np.testing.assert_array_equal(params["members"]["w"], theirs["members"]["w"][[0, 1, 0]])
    params, _ = from_run(theirs, (), {"w": -numbers(3)}, ())
    np.testing.assert_array_equal(params["w"], theirs["members"]["w"][0])


def test_nothing_in_common_is_refused(from_run):
    """Otherwise a run is thought to be fine-tuned and is trained from scratch."""
    with pytest.raises(UserError, match=r"init_from=runs/other: no parameter"):
        from_run({"a": numbers(2)}, (), {"b": numbers(2)}, ())


def test_names_of_a_vocabulary_are_those_of_its_rows():
    vocabulary = Vocabulary(("good", "bad"), 10, 0)
    assert len(vocabulary.names) == len(vocabulary)
    for word in vocabulary.words:
        assert vocabulary.names[vocabulary.encode([word])[0, 0]] == word


def test_a_run_starts_from_another_and_says_so(finished, tmp_path):
    """Before its first step it has the parameters that the other ended with; a directory
    without a run is refused before anything is written."""
    first, _ = finished
    notes = []
    monitor = type("Noting", (loop.Silent,), {"note": lambda self, line: notes.append(line)})()
    config = tiny.config(train__init_from=str(first), train__max_steps=1)
    loop.train(config, tmp_path / "second", monitor)
    assert any(f"started from {first}, step " in line for line in notes)
    with pytest.raises(UserError, match="no trained model in"):
        loop.train(tiny.config(train__init_from=str(tmp_path / "none")), tmp_path / "third")
    assert not (tmp_path / "third").exists()
