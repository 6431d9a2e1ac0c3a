"""Calibration and its measures, by hand and against a plain loop.

Axes: N texts, C classes.
"""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate.calibration import BINS


def alike(gap, right, of):
    """Logits and labels of `of` texts called class 1 by the same margin, `right` of them
    rightly: their likelihood is highest where the confidence is right / of."""
    logits = np.tile([0.0, gap], (of, 1)).astype(np.float32)
    return logits, (np.arange(of) < right).astype(np.int32)


def confident(*confidences, right):
    """Probabilities of class 0 first, and labels that make the texts right or wrong."""
    p = np.array(confidences)
    return np.stack([p, 1 - p], axis=1), 1 - np.array(right, int)


@st.composite
def noisy(draw):
    """Random logits [N, C] and labels that follow them more often than not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    texts, classes = draw(st.integers(30, 90)), draw(st.integers(2, 4))
    logits = rng.normal(size=(texts, classes))
    return logits, (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)


def test_probabilities_by_hand():
    """Odds of 9 to 1, and their square root at temperature 2."""
    logits = np.log([[9.0, 1.0]])
    np.testing.assert_allclose(calibration.probabilities(logits), [[0.9, 0.1]])
    np.testing.assert_allclose(calibration.probabilities(logits, 2.0), [[0.75, 0.25]])


def test_cross_entropy_by_hand():
    """−log of 0.9 and of 0.1, and at temperature 2 of 0.75 and of 0.25."""
    logits, labels = np.log([[9.0, 1.0], [9.0, 1.0]]), np.array([0, 1])
    loss = calibration.cross_entropy(logits, labels)
    assert loss == pytest.approx(-np.log(0.9 * 0.1) / 2)
    loss = calibration.cross_entropy(logits, labels, temperature=2.0)
    assert loss == pytest.approx(-np.log(0.75 * 0.25) / 2)


def test_a_mistake_beyond_any_probability_still_has_a_loss():
    """Otherwise one confident mistake makes the loss infinite, and no checkpoint the best."""
    logits = np.array([[4000.0, 0.0]], np.float32)
    assert calibration.cross_entropy(logits, np.array([1])) == pytest.approx(4000)


@pytest.mark.parametrize(
    ("gap", "right", "of"), [(4.0, 3, 4), (8.0, 9, 10), (1.0, 9, 10), (np.log(3), 3, 4)]
)
def test_the_temperature_by_hand(gap, right, of):
    """sigmoid(gap / T) = right / of. Above 1 where three of four are right and the model gives
    98 %, below 1 where it gives too little, 1 where it is calibrated."""
    odds = right / (of - right)
    found = calibration.fit_temperature(*alike(gap, right, of))
    assert found == pytest.approx(gap / np.log(odds), rel=1e-4)


@pytest.mark.parametrize(("right", "bound"), [(10, 0), (4, 1)])
def test_a_temperature_without_an_optimum_stays_within_its_bounds(right, bound):
    """All right wants 0, and worse than chance infinity: either would be divided by."""
    found = calibration.fit_temperature(*alike(3.0, right, 10))
    assert found == pytest.approx(calibration.TEMPERATURES[bound], rel=1e-3)


@settings(max_examples=20)
@given(noisy(), st.floats(0.5, 4.0))
def test_the_temperature_follows_the_scale_of_logits(drawn, scale):
    """Otherwise calibrated probabilities depend on how large a model writes its logits."""
    logits, labels = drawn
    found = calibration.fit_temperature(logits, labels)
    scaled = calibration.fit_temperature(scale * logits, labels)
    low, high = calibration.TEMPERATURES
    if max(1, scale) * found < 0.9 * high and min(1, scale) * found > 1.1 * low:
        assert scaled == pytest.approx(scale * found, rel=1e-3)


@settings(max_examples=20)
@given(noisy())
def test_no_temperature_is_better_than_the_fitted_one(drawn):
    """Otherwise the search stops short of the optimum."""
    logits, labels = drawn
    loss = partial(calibration.cross_entropy, logits, labels)
    best = loss(calibration.fit_temperature(logits, labels))
    for temperature in np.geomspace(*calibration.TEMPERATURES, 60):
        assert best <= loss(temperature) + 1e-9


def test_the_calibration_error_by_hand():
    """Four texts at 0.9, three of them right, and one at 0.6, wrong: 0.8 · 0.15 + 0.2 · 0.6.
    Bins of 1/15 hold (0.867, 0.933] and (0.533, 0.6]."""
    bins = calibration.reliability(
        *confident(0.9, 0.6, 0.9, 0.9, 0.9, right=[True, False, True, False, True])
    )
    assert bins.error() == pytest.approx(0.24)
    assert np.flatnonzero(bins.share).tolist() == [8, 13]
    np.testing.assert_allclose(bins.share[[8, 13]], [0.2, 0.8])
    np.testing.assert_allclose(bins.confidence[[8, 13]], [0.6, 0.9])
    np.testing.assert_allclose(bins.accuracy[[8, 13]], [0, 0.75])


def test_errors_of_one_bin_cancel_and_of_two_do_not():
    """0.9 ± 0.02 in one bin, with an accuracy of 0.9; in two bins both would be off."""
    p, labels = confident(*[0.88] * 10, *[0.92] * 10, right=[True] * 18 + [False] * 2)
    assert calibration.reliability(p, labels).error() == pytest.approx(0)
    apart = confident(*[0.7] * 10, *[0.9] * 10, right=[True] * 16 + [False] * 4)
    # 10 of 10 at confidence 0.7, 6 of 10 at 0.9; 0.8 of 20 at a mean confidence of 0.8.
    assert calibration.reliability(*apart).error() == pytest.approx(0.3)


def test_an_empty_bin_has_no_means_and_no_part_in_the_error():
    """A 0 in its place would be drawn, and counted as a bin that is wrong."""
    bins = calibration.reliability(*confident(0.97, right=[True]))
    empty = bins.share == 0
    assert empty.sum() == BINS - 1
    assert np.isnan(bins.accuracy[empty]).all()
    assert np.isnan(bins.confidence[empty]).all()
    assert bins.error() == pytest.approx(0.03)


@pytest.mark.parametrize("edge", range(8, BINS + 1))
def test_a_confidence_on_an_edge_belongs_below_it(edge):
    """1 would else fall out of the last bin. Two classes begin at ½, within bin 8."""
    bins = calibration.reliability(*confident(edge / BINS, right=[True]))
    assert np.flatnonzero(bins.share).tolist() == [edge - 1]
    above = calibration.reliability(*confident(min(1, edge / BINS + 1e-9), right=[True]))
    assert np.flatnonzero(above.share).tolist() == [min(edge, BINS - 1)]


@settings(max_examples=60)
@given(st.data(), st.integers(1, 40), st.integers(2, 4))
def test_reliability_is_a_sum_over_texts(data, texts, classes):
    """Against a plain loop over bins and texts. Shares of a prime never fall on an edge."""
    prime = 1009
    counts = st.lists(st.integers(0, 200), min_size=classes - 1, max_size=classes - 1)
    drawn = [data.draw(counts) for _ in range(texts)]
    p = np.array([[*row, prime - sum(row)] for row in drawn]) / prime
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in range(texts)])
    bins, error = calibration.reliability(p, labels), 0.0
    for place in range(BINS):
        inside = [
            (max(row), int(np.argmax(row) == label))
            for row, label in zip(p.tolist(), labels, strict=True)
            if place / BINS < max(row) <= (place + 1) / BINS
        ]
        assert bins.share[place] == pytest.approx(len(inside) / texts)
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            assert bins.confidence[place] == pytest.approx(confidence)
            assert bins.accuracy[place] == pytest.approx(accuracy)
            error += len(inside) / texts * abs(accuracy - confidence)
    assert bins.error() == pytest.approx(error)
    assert bins.share.sum() == pytest.approx(1)


def test_confusion_by_hand():
    """Rows are labels: exchanged, misses read as false alarms."""
    labels, predicted = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 0, 2])
    counts = calibration.confusion(predicted, labels, 3)
    assert counts.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]


def test_f1_by_hand():
    """Class 1: precision 35/45, recall 35/40. Class 0: precision 50/55, recall 50/60."""
    counts = np.array([[50, 10], [5, 35]])
    np.testing.assert_allclose(calibration.f1(counts), [100 / 115, 70 / 85])


def test_a_class_that_is_never_met_scores_0():
    """Otherwise a division by 0 makes the mean over classes NaN."""
    counts = np.array([[3, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(calibration.f1(counts), [6 / 7, 0, 0])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    """Against counts of hits, false alarms and misses, text by text."""
    labels, predicted = np.array(pairs).T
    scores = calibration.f1(calibration.confusion(predicted, labels, 4))
    for c in range(4):
        hits = sum(a == b == c for a, b in pairs)
        called, there = sum(b == c for _, b in pairs), sum(a == c for a, _ in pairs)
        expected = 0.0
        if hits:
            precision, recall = hits / called, hits / there
            expected = 2 * precision * recall / (precision + recall)
        assert scores[c] == pytest.approx(expected)


COUNTS = np.array([[3, 1, 0, 0], [2, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
"""Of four classes, of which the third is never called and the fourth neither met nor called."""


def test_scores_of_classes_by_hand():
    """Class 0: called 6 times, 3 rightly, of 4. Class 1: called 3 times, 2 rightly, of 4."""
    scores = calibration.class_scores(COUNTS)
    np.testing.assert_allclose(scores.precision, [1 / 2, 2 / 3, 0, 0])
    np.testing.assert_allclose(scores.recall, [3 / 4, 1 / 2, 0, 0])
    np.testing.assert_allclose(scores.f1, [3 / 5, 4 / 7, 0, 0])
    assert scores.texts.tolist() == [4, 4, 1, 0]


def test_macro_f1_by_hand():
    """A class that is missed counts as 0; one that is in no text and no answer does not count,
    or a small file with few of the classes would look bad however right the answers."""
    assert calibration.macro_f1(COUNTS) == pytest.approx((3 / 5 + 4 / 7 + 0) / 3)
    assert calibration.macro_f1(np.diag([5, 0, 1])) == 1
