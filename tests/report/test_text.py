"""The results of a text task: numbers from probabilities made by hand, and the printed table.

Axes: N texts, C classes.
"""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate.results import WORST_MISTAKES, text_results
from mocanet_jax.report import text as text_report
from mocanet_jax.tasks.text.labelled import LabelledTexts

CLASSES = ("negative", "positive")
USAGE = {"usage": 0.25, "usage_experts": 0.5}

# A row a text: its number of words, its label, and the probability of class 1.
ROWS = [
    (1, 1, 0.9),
    (5, 0, 0.8),  # wrong
    (5, 0, 0.1),
    (6, 1, 0.7),
    (10, 1, 0.3),  # wrong
    (11, 0, 0.95),  # wrong
    (23, 1, 0.6),
    (25, 0, 0.6),  # wrong
]


def results(rows):
    lengths, labels, positive = map(np.array, zip(*rows, strict=True))
    tokens = [["word"] * length for length in lengths]
    names = [f"text {i}" for i in range(len(rows))]
    log_p = np.log(np.stack([1 - positive, positive], axis=1))
    return text_results(LabelledTexts(names, tokens, labels), log_p, USAGE, CLASSES)


RESULTS = results(ROWS)


def test_metrics_by_hand():
    """4 of 8 right; class 1 has 3 hits, 3 false alarms and 1 miss; usage is passed on."""
    m = RESULTS.metrics
    assert m["accuracy"] == 0.5
    assert m["f1"] == pytest.approx(2 * 3 / (6 + 4))
    assert m["loss"] == pytest.approx(
        -np.mean(np.log([0.9, 0.2, 0.9, 0.7, 0.3, 0.05, 0.6, 0.4]))
    )
    # Bins of one text: 0.8 and 0.95, both wrong. Bins of two: 0.9, both right; 0.6, one right;
    # 0.7, one right.
    by_bin = 0.8 + 0.95 + 2 * 0.1 + 2 * 0.1 + 2 * 0.2
    assert m["ece"] == pytest.approx(by_bin / 8)
    assert m["ece"] == RESULTS.reliability.error()
    assert (m["usage"], m["usage_experts"], m["texts"]) == (0.25, 0.5, 8)
    assert all(isinstance(value, float | int) for value in m.values())


def test_confusion_has_labels_in_rows():
    """Exchanged, a model that calls everything positive looks like one that misses them."""
    assert RESULTS.confusion.tolist() == [[1, 3], [1, 3]]


def test_texts_are_grouped_by_length():
    """A group ends at a multiple of 5, which belongs to it; groups without texts are absent."""
    assert RESULTS.by_length == {5: (2 / 3, 3), 10: (0.5, 2), 15: (0.0, 1), 25: (0.5, 2)}


def test_the_most_confident_mistake_comes_first():
    """Otherwise the mistakes that are shown are not the ones to look at."""
    assert [(m.text, m.label, m.predicted) for m in RESULTS.worst] == [
        ("text 5", 0, 1),
        ("text 1", 0, 1),
        ("text 4", 1, 0),
        ("text 7", 0, 1),
    ]
    confidences = [m.confidence for m in RESULTS.worst]
    assert confidences == pytest.approx([0.95, 0.8, 0.7, 0.6])


def test_equally_confident_mistakes_keep_their_order_and_a_long_list_is_cut():
    """Otherwise two evaluations of one model differ, or a result file grows with the data."""
    many = results([(1, 0, 0.75)] * 60 + [(1, 0, 0.9)]).worst
    assert len(many) == WORST_MISTAKES
    assert [m.text for m in many[:4]] == ["text 60", "text 0", "text 1", "text 2"]


def test_f1_of_several_classes_is_their_mean():
    """By hand: classes 0 and 1 score 2/3 each, class 2 scores 1."""
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    texts = LabelledTexts(list("abcd"), [[c] for c in "abcd"], labels)
    found = text_results(texts, np.log(np.eye(3)[predicted] * 0.97 + 0.01), {}, ("a", "b", "c"))
    assert found.metrics["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_a_mistake_beyond_any_probability_still_has_a_loss():
    """exp(−4000) is 0 in any precision, and the loss of one mistake infinite, which JSON does
    not have."""
    texts = LabelledTexts(["a", "b"], [["a"], ["b"]], np.array([1, 0]))
    log_p = calibration.log_probabilities(np.array([[4000.0, 0.0], [4000.0, 0.0]]))
    found = text_results(texts, log_p, {}, CLASSES)
    assert found.metrics["loss"] == 2000
    flat = found.entries()
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat


def test_all_right_leaves_no_mistake():
    """A perfect model must not end its run in an error."""
    perfect = results([(3, 1, 0.99), (4, 0, 0.01)])
    assert perfect.worst == []
    assert perfect.metrics["accuracy"] == perfect.metrics["f1"] == 1
    assert perfect.entries()["eval/worst_mistakes"] == []


def test_a_summary_survives_json_and_names_classes():
    """Otherwise what reads results finds numbers for names, or no file."""
    flat = RESULTS.entries()
    assert json.loads(json.dumps(flat)) == flat
    assert flat["eval/accuracy"] == 0.5
    assert flat["eval/usage"] == 0.25
    assert flat["eval/accuracy_by_length"] == {"5": 2 / 3, "10": 0.5, "15": 0.0, "25": 0.5}
    assert flat["eval/texts_by_length"] == {"5": 3, "10": 2, "15": 1, "25": 2}
    assert flat["eval/confusion"] == {
        "negative": {"negative": 1, "positive": 3},
        "positive": {"negative": 1, "positive": 3},
    }
    assert flat["eval/worst_mistakes"][0] == {
        "text": "text 5",
        "label": "negative",
        "predicted": "positive",
        "confidence": 0.95,
    }
    assert len(flat["eval/worst_mistakes"]) == 4


def test_the_table_shows_the_results():
    """Otherwise a user reads other numbers than those of the file; markup in a text
    is shown as it is written."""
    console = Console(file=io.StringIO(), width=100)
    worst = [m._replace(text="[red]so bad[/red]") for m in RESULTS.worst[:1]]
    text_report.show(console, RESULTS._replace(worst=worst))
    printed = console.file.getvalue()
    lines = [line.split() for line in printed.splitlines()]
    assert "8 texts: accuracy 50.00%, F1 0.6000, expected calibration error" in printed
    assert ["negative", "1", "3"] in lines
    assert ["1", "to", "5", "66.67%", "3"] in lines
    assert ["21", "to", "25", "50.00%", "2"] in lines
    assert "called positive (95.0%): [red]so bad[/red]" in printed


def of_labels(names, labels, predicted, words=1):
    """Results of answers of one confidence."""
    texts = [f"text {i}" for i in range(len(labels))]
    p = np.eye(len(names))[predicted] * 0.9 + 0.1 / len(names)
    labelled = LabelledTexts(texts, [["w"] * words] * len(labels), np.array(labels))
    return text_results(labelled, np.log(p), USAGE, names)


def shown(results, width=100):
    console = Console(file=io.StringIO(), width=width)
    text_report.show(console, results)
    return console.file.getvalue()


def test_labels_are_shown_by_name_with_their_scores():
    """Names of a user's own: as they are written, also where they look like markup."""
    found = of_labels(("[red]", "fault", "late, lost"), [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0])
    printed = shown(found)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    # F1: 2/4, 2/3, 4/5.
    assert "macro-F1 0.6556; the commonest label, late, lost, has a share of 50.00%" in printed
    assert "[red] 1 1 0" in lines
    assert "late, lost 1 0 2" in lines
    assert "[red] 50.00% 50.00% 0.5000 2" in lines
    assert "late, lost 100.00% 66.67% 0.8000 3" in lines
    entries = found.entries()
    assert entries["eval/macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    assert entries["eval/majority_share"] == 0.5
    assert entries["eval/by_class"]["late, lost"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(4 / 5),
        "texts": 3,
    }
    assert entries["eval/confusion"]["fault"] == {"[red]": 0, "fault": 1, "late, lost": 0}


def test_of_many_labels_the_most_frequent_confusions_are_shown():
    """A matrix of forty columns fits no screen."""
    names = tuple(f"label {i}" for i in range(40))
    labels = [*range(40), 3, 3, 5]
    predicted = [*range(40), 4, 4, 6]
    printed = shown(of_labels(names, labels, predicted))
    assert "called label 0" not in printed
    assert printed.index("2 of label 3 called label 4") < printed.index("1 of label 5 called")
    assert "and 10 rarer labels" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_a_test_split_is_reported_beside_validation():
    """Otherwise one is taken for the other."""
    valid, test = (of_labels(("a", "b"), [0, 1], guess) for guess in ([0, 1], [0, 0]))
    both = valid._replace(test=test)
    entries = both.entries()
    assert (entries["eval/accuracy"], entries["test/accuracy"]) == (1, 0.5)
    printed = shown(both)
    assert "validation: 2 texts: accuracy 100.00%" in printed
    assert "test: 2 texts: accuracy 50.00%" in printed
    assert "  called a (95.0%): text 1" in printed


def test_groups_of_long_texts_are_wider():
    """A table of two hundred rows hides what is above it."""
    assert [*of_labels(("a", "b"), [0, 1], [0, 1], words=1000).by_length] == [1000]
    steps = [
        of_labels(("a", "b"), [0], [0], words=n).length_step
        for n in (60, 61, 300, 600, 1000, 2000)
    ]
    assert steps == [5, 10, 25, 50, 100, 100]


def test_pictures_are_drawn(tmp_path):
    """Otherwise a run ends without them, or under names that nobody finds."""
    text_report.draw(tmp_path, RESULTS)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"reliability.png", "accuracy_by_length.png"}
