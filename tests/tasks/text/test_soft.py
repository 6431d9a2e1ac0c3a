"""Soft labels: how they are read, and what is trained on where a corpus has labels, too.

Axes: N texts, C classes.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.buckets import TextBatch
from mocanet_jax.tasks.text.labelled import LabelledTexts
from mocanet_jax.tasks.text.own import OwnTexts
from mocanet_jax.tasks.text.soft import joined, read_soft, with_soft
from tests.tasks.text.small_corpus import SETTINGS, corpus

CLASSES = ("bad", "good")


def line(text, **probabilities):
    return json.dumps({"text": text, "probabilities": probabilities}) + "\n"


def softened(texts, probabilities):
    return LabelledTexts(texts.texts, texts.tokens, np.array(probabilities, np.float32))


@pytest.fixture
def file(tmp_path):
    """A path, and what writes lines there."""
    path = tmp_path / "soft.jsonl"
    return path, lambda *lines: path.write_text("".join(lines), encoding="utf-8")


def test_probabilities_are_read_by_the_names_of_classes(file):
    """By their order in a line the label would be inverted; and a missing class has none."""
    path, write = file
    write(line("Fine!", good=0.75, bad=0.25), line("Dull.", bad=1), line(" ", good=1))
    soft = read_soft(path, CLASSES)
    assert soft.tokens == [["fine", "!"], ["dull", "."]]
    np.testing.assert_allclose(soft.labels, [[0.25, 0.75], [1, 0]])
    assert soft.labels.dtype == np.float32


def test_the_answers_of_a_chat_are_soft_labels(file):
    """Fields that a chat adds are no error, nor what it says of a text without a word."""
    path, write = file
    answer = {"text": "dull", "label": "bad", "confidence": 0.9, "words": 1}
    empty = {"text": "", "label": None, "error": "there is no word in it"}
    lines = answer | {"probabilities": {"bad": 0.9, "good": 0.1}}, empty
    write(*(json.dumps(line) + "\n" for line in lines))
    np.testing.assert_allclose(read_soft(path, CLASSES).labels, [[0.9, 0.1]])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (line("x", good=0.4, bad=0.4), "line 2: probabilities are numbers"),
        (line("x", good=1.5, bad=-0.5), "line 2: probabilities are numbers"),
        (line("x", good="1"), "line 2: probabilities are numbers"),
        ('{"text": "x", "probabilities": {"good": NaN, "bad": 1}}\n', "line 2: probabilities"),
        (line("x", fine=1), "line 2: the class 'fine' is none of bad, good"),
        ('{"text": "x", "probabilities": [0.5, 0.5]}\n', "line 2: probabilities are an object"),
        ('{"text": 3, "probabilities": {"good": 1}}\n', "line 2: text is no text: 3"),
        ('{"text": \n', "line 2: not JSON"),
    ],
)
def test_a_wrong_line_is_named(file, wrong, told):
    path, write = file
    write(line("fine", good=1), wrong)
    with pytest.raises(UserError, match=f"soft.jsonl, {told}"):
        read_soft(path, CLASSES)


def test_a_file_of_another_form_is_told_what_soft_labels_are(file):
    path, write = file
    write("text,label\nfine,good\n")
    with pytest.raises(UserError, match='there is no "probabilities"; soft labels are'):
        read_soft(path, CLASSES)
    write(line("...", good=1).replace("...", ""))
    with pytest.raises(UserError, match="there is no text in it"):
        read_soft(path, CLASSES)


def test_texts_are_joined_with_their_tokens_and_labels():
    """Labels of the one would otherwise go to texts of the other."""
    one, other = corpus([("a film", 1), ("dull", 0)]), corpus([("so witty", 1)])
    both = joined(one, other, smoothing=0.5)
    assert both.texts == ["a film", "dull", "so witty"]
    assert both.tokens == [["a", "film"], ["dull"], ["so", "witty"]]
    assert both.labels.tolist() == [1, 0, 1]
    assert both.labels.dtype == np.int32
    assert len(joined(one, one.take(np.array([], int)), 0.0)) == 2


def test_labels_become_probabilities_beside_soft_ones():
    """A share of 0.2, spread over two classes, leaves 0.9 of the label."""
    soft = softened(corpus([("a film", 1)]), [[0.3, 0.7]])
    both = joined(soft, corpus([("dull", 0)]), smoothing=0.2)
    np.testing.assert_allclose(both.labels, [[0.3, 0.7], [0.9, 0.1]], rtol=1e-6)
    assert both.labels.dtype == np.float32


def test_what_is_held_out_stays_out_and_a_soft_label_takes_the_place_of_a_label():
    """Texts that choose a checkpoint would otherwise be trained on by the teacher's labels."""
    hard = corpus([("a film", 1), ("dull", 0)])
    rows = corpus([("dull", 0), ("held out", 1), ("more", 1)])
    soft = softened(rows, [[0.6, 0.4], [0, 1], [0.1, 0.9]])
    both = with_soft(hard, soft, {("held", "out")}, smoothing=0.0)
    assert both.texts == ["dull", "more", "a film"]
    np.testing.assert_allclose(both.labels, [[0.6, 0.4], [0.1, 0.9], [0, 1]])


@pytest.fixture
def task(tmp_path, file):
    """Of one's own texts with soft labels of some of them and of others."""
    path, write = file
    rows = [
        ("a fine film", "good"),
        ("so dull", "bad"),
        ("fine", "good"),
        ("a dull film", "bad"),
    ]
    for name, part in (
        ("train", rows),
        ("valid", [("no film", "bad")]),
        ("test", [("a", "good")]),
    ):
        lines = ["text,label", *(f"{text},{label}" for text, label in part)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(*(line(text, good=0.5, bad=0.5) for text in ("no film", "a", "fine", "witty")))
    settings = {name: x for name, x in SETTINGS.items() if name != "held_out"}
    return OwnTexts(**settings | {"path": str(tmp_path), "soft_labels": str(path)})


def test_a_task_trains_on_soft_labels(task):
    """Validation and test texts are in the file, and not in training; its words are known."""
    trained = task._all_training_texts
    assert trained.texts == ["fine", "witty", "a fine film", "so dull", "a dull film"]
    assert "witty" in task.vocabulary
    assert [b.labels.shape for b in task.batches.data.buckets] == [(3, 2), (2, 2)]
    before = task.record()["data"]["training"]
    assert before["texts"] == 5
    assert task.train_texts.fingerprint() != before


def test_the_loss_is_the_cross_entropy_to_the_probabilities(task):
    """−0.25 log p₀ − 0.75 log p₁ of logits whose softmax is (1/4, 3/4) and (1/2, 1/2)."""
    logits = jnp.log(jnp.array([[[0.25, 0.75], [0.5, 0.5]]]))
    labels = jnp.array([[0.25, 0.75], [0.25, 0.75]])
    scores = task.score(logits, TextBatch(jnp.zeros((2, 1, 1)), jnp.ones((2, 1)), labels))
    entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    np.testing.assert_allclose(scores.loss, entropy + np.log(2), rtol=1e-6)
    assert (scores.correct, scores.texts) == (1, 2)
