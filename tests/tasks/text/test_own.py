"""Classification of one's own texts: labels by name, splits, and what is wrong with the data.

Axes: N texts.
"""

import json

import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import read_json
from mocanet_jax.tasks.text.own import OwnTexts, drawn, shares
from tests.tasks.text.small_corpus import SETTINGS, of_tokens

LABELS = ("1", "2", "10")
WORDS = {"1": "dull", "2": "so", "10": "great"}
TRAIN = [(f"{WORDS[label]} film number {i}", label) for i in range(30) for label in LABELS]


def write(file, rows):
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def own(path, **changes) -> OwnTexts:
    settings = {name: x for name, x in SETTINGS.items() if name != "held_out"}
    return OwnTexts(**settings | {"path": str(path), "buckets": ()} | changes)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    return tmp_path


def test_labels_keep_their_names(folder):
    """Otherwise class 1 of one part is "10" of another."""
    write(folder / "valid.csv", [("great", "10"), ("dull", "1")])
    task = own(folder)
    assert task.classes == LABELS
    assert [task.classes[i] for i in task.train_texts.labels] == [label for _, label in TRAIN]
    assert [task.classes[i] for i in task.evaluation_texts.labels] == ["10", "1"]
    assert task.evaluation_texts is task.held_out_texts
    assert task.test_texts is None


def test_a_test_split_is_apart(folder):
    """A checkpoint chosen by it would make its numbers too good."""
    write(folder / "dev.csv", [("great", "10"), ("dull", "1")])
    write(folder / "test.csv", [("so so", "2")])
    task = own(folder)
    assert task.test_texts.texts == ["so so"]
    assert task.held_out_texts.texts == ["great", "dull"]
    assert len(task.train_texts) == len(TRAIN)
    write(folder / "own.csv", [("so great", "10")])
    other = own(folder, eval_file=str(folder / "own.csv"))
    assert other.evaluation_texts.texts == ["so great"]
    assert other.test_texts is None


def test_without_a_file_a_share_of_training_is_for_validation(folder):
    """The same for every seed and every order of the rows, and disjoint."""
    task = own(folder, valid_share=0.3)
    train, valid = task.train_texts, task.held_out_texts
    assert sorted(train.texts + valid.texts) == sorted(text for text, _ in TRAIN)
    assert 10 < len(valid) < 45
    write(folder / "train.csv", TRAIN[::-1])
    again = own(folder, valid_share=0.3, seed=7).held_out_texts
    assert set(again.texts) == set(valid.texts)
    more = own(folder, valid_share=0.5).held_out_texts
    assert set(valid.texts) < set(more.texts)


def test_equal_texts_are_on_one_side(folder):
    """A model would be validated on texts that it was trained on."""
    write(folder / "train.csv", TRAIN + [(f"{text.upper()} ", label) for text, label in TRAIN])
    task = own(folder, valid_share=0.3)
    sides = [
        {tuple(t) for t in texts.tokens} for texts in (task.train_texts, task.held_out_texts)
    ]
    assert not sides[0] & sides[1]
    assert len(task.held_out_texts) == 2 * len(sides[1])


def test_a_hash_is_of_the_tokens_alone():
    """Fixed values: another release that draws other texts would train on validation texts
    when a run goes on."""
    found = shares(of_tokens([["a", "film"], ["a"], ["a", "film"]]))
    np.testing.assert_allclose(found, [0.91915, 0.79137, 0.91915], atol=1e-5)


@pytest.mark.parametrize(
    ("hashes", "labels", "expected"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 1, 0, 1], [1, 1, 0, 0]),
        ([0.1, 0.2, 0.8, 0.9], [0, 1, 0, 0], [1, 0, 0, 0]),  # label 1 would be lost
        ([0.1, 0.1, 0.8, 0.9], [0, 1, 0, 0], [0, 0, 1, 0]),  # and its equal text stays, too
        ([0.6, 0.7, 0.8, 0.9], [0, 1, 0, 1], [1, 0, 0, 0]),  # none is below: the lowest
        ([0.1, 0.2], [0, 1], None),
        ([0.1, 0.1, 0.1], [0, 1, 1], None),
    ],
)
def test_training_keeps_every_label(hashes, labels, expected):
    """A label of which every text is drawn cannot be learned."""
    held = drawn(np.array(hashes), np.array(labels), 0.5)
    assert (held is None) if expected is None else held.tolist() == [*map(bool, expected)]


def test_lengths_fit_the_texts(folder):
    """Otherwise short texts are padded to hundreds of words, or long ones are cut."""
    rows = [("w " * n, str(n % 2)) for n in range(1, 101)]
    write(folder / "train.csv", rows)
    write(folder / "valid.csv", rows)
    assert own(folder).buckets == (51, 91, 100)
    assert own(folder, buckets=(4, 8)).buckets == (4, 8)
    write(folder / "train.csv", [("w " * 900, "0"), ("w " * 999, "1")])
    assert own(folder).buckets == (256,)


def test_a_run_that_goes_on_needs_no_files(folder, tmp_path):
    """A chat loads the model where the data is not; another order of labels would give every
    class the name of another."""
    task = own(folder)
    kept = json.loads(json.dumps(task.record()))
    restored = own("nowhere", **OwnTexts.settings_of(kept))
    assert restored.classes == task.classes
    assert restored.buckets == task.buckets
    assert restored.vocabulary == task.vocabulary
    assert OwnTexts.settings_of({}) == {}
    task.save(tmp_path)
    assert read_json(tmp_path / "vocabulary.json")["classes"] == [*LABELS]


def test_texts_to_judge_are_in_the_column_of_training(folder):
    """A file of the same form, without labels, is what a user has next."""
    (folder / "train.csv").write_text(
        "mail,class\n" + "a b,x\nc d,y\ne,x\nf,y\n", encoding="utf-8"
    )
    restored = own("nowhere", **OwnTexts.settings_of(own(folder, valid_share=0.5).record()))
    file = folder / "new.csv"
    file.write_text('id,mail\n1,"so, so"\n2,\n', encoding="utf-8")
    assert restored.texts_in(file) == ["so, so", ""]
    file.write_text("id,message of\n1,so\n", encoding="utf-8")
    with pytest.raises(UserError, match="in training it was 'mail'"):
        restored.texts_in(file)
    assert restored.texts_in(folder / "lines.txt") is None


def test_remarks_tell_sizes_labels_and_what_is_wrong(folder):
    """Otherwise a mistake in the data is found after training, or never."""
    rows = [*TRAIN, ("no more", "12"), (" ", "1")]
    write(folder / "train.csv", rows)
    write(folder / "valid.csv", [("great", "10"), TRAIN[0]])
    lines = own(folder).remarks()
    assert lines[0] == f"{folder / 'train.csv'}: texts in the column 'text', labels in 'label'"
    assert "texts: 91 to train on, 2 for validation" in lines
    assert "4 labels in training: 1 33.0%, 2 33.0%, 10 33.0%, 12 1.1%" in lines
    assert [line for line in lines if line.startswith("warning")] == [
        f"warning: {folder / 'train.csv'}: texts without a word are left out, line 93",
        "warning: labels with one training text, which is hardly learned: 12",
        "warning: 1 of 2 validation texts are in training, too",
    ]
    (folder / "valid.csv").unlink()
    assert any("drawn from training by a hash" in line for line in own(folder).remarks())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("a", "x"), ("b", "x")], r"all 2 texts have the label 'x'; a classifier takes two"),
        ([(f"a {i}", i) for i in range(50)], r"'label' has 50 different labels in 50 texts"),
        ([("a", "x"), ("b", "y")], r"no text can be taken for validation"),
    ],
)
def test_data_that_cannot_be_learned_is_refused(folder, rows, reason):
    """Otherwise training runs to its end and means nothing."""
    write(folder / "train.csv", rows)
    with pytest.raises(UserError, match=reason) as error:
        own(folder).record()
    assert len(str(error.value).splitlines()) == 1


def test_a_label_that_training_never_has_is_refused_with_its_line(folder):
    """No logit stands for it."""
    for name, at in (("valid.csv", "held_out_texts"), ("test.csv", "test_texts")):
        write(folder / name, [("great", "10"), ("awful", "0")])
        with pytest.raises(
            UserError, match=rf"{name}, line 3: the label '0' is none .* 1, 2, 10"
        ):
            getattr(own(folder), at)
        (folder / name).unlink()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_is_between_0_and_1(folder, share):
    with pytest.raises(ValueError, match="valid_share is a share"):
        own(folder, valid_share=share)
