"""Pictures of a classifier: complete PNG files that show their data, however little."""

import numpy as np
import pytest
from matplotlib import image

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.report import text_pictures
from mocanet_jax.report.text_pictures import LABEL_LENGTH, SHOWN_WORDS, SpentText

METRICS = {"ece": 0.1, "accuracy": 0.8}


@pytest.fixture
def drawn(tmp_path):
    """The picture as an array [height, width, 4], checked to be alone in its folder."""

    def draw(function, *data):
        path = tmp_path / "picture.png"
        function(*data, path)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(path)
        assert 400 < pixels.shape[0] < 1400
        assert 800 < pixels.shape[1] < 1600
        assert pixels[..., :3].std() > 0.03, "an empty page"
        return pixels

    return draw


def bins(*confidences, right):
    p = np.array(confidences)
    return calibration.reliability(np.stack([p, 1 - p], axis=1), 1 - np.array(right, int))


@pytest.mark.parametrize(
    "data",
    [
        bins(1.0, right=[True]),
        bins(1.0, 1.0, right=[False, False]),
        bins(0.5, right=[True]),
        bins(0.55, 0.75, 0.95, right=[True, False, True]),
        calibration.reliability(np.full((4, 20), 0.05), np.zeros(4, int)),
    ],
    ids=["one bin", "one bin, all wrong", "the lowest of two classes", "gaps", "20 classes"],
)
def test_reliability_of_any_classifier(drawn, data):
    drawn(text_pictures.reliability, data, METRICS)


def test_reliability_shows_its_data(drawn):
    """Otherwise a poorly calibrated model looks like any other."""
    confidences = np.linspace(0.55, 1.0, 20)
    good, bad = bins(*confidences, right=[True] * 20), bins(*confidences, right=[False] * 20)
    one, other = (drawn(text_pictures.reliability, data, METRICS) for data in (good, bad))
    titled = drawn(text_pictures.reliability, good, METRICS | {"ece": 0.2})
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, titled)


@pytest.mark.parametrize(
    "by_length",
    [
        {5: (1.0, 1)},
        {5: (0.0, 3)},
        {60: (0.5, 2), 5: (1.0, 400), 10: (0.0, 1)},
        {5 * i: (0.5, i) for i in range(1, 13)},
    ],
    ids=["one length, all right", "one length, all wrong", "unsorted", "twelve lengths"],
)
def test_accuracy_by_length_of_any_texts(drawn, by_length):
    drawn(text_pictures.accuracy_by_length, by_length, 5)


def test_accuracy_by_length_shows_its_data(drawn):
    """Otherwise a length that fails looks like one that does not, or few texts like many."""
    pictures = [
        drawn(text_pictures.accuracy_by_length, {5: (0.9, 100), 10: second}, 5)
        for second in ((0.8, 100), (0.6, 100), (0.8, 10))
    ]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_intervals_hold_for_two_texts():
    """Two standard errors of two right texts are nothing, as if the accuracy were certain.

    Both right: upper end 1, lower end 1/(1 + z²/2) = 0.342. Half of 100: 0.404 to 0.596.
    """
    low, high = text_pictures.interval(np.array([1.0, 0.0, 0.5]), np.array([2.0, 2.0, 100.0]))
    np.testing.assert_allclose(low, [0.342, 0, 0.404], atol=1e-3)
    np.testing.assert_allclose(high, [1, 0.658, 0.596], atol=1e-3)


def spent(*words, share=0.1):
    each = np.full(len(words), share)
    return SpentText(list(words), Spending(each, 2 * each, 3 * each), "positive")


@pytest.fixture
def axes(monkeypatch, tmp_path):
    """Draws the spending of texts and returns its axes, one a line of words."""

    def draw(texts, target=None):
        figures = []
        monkeypatch.setattr(text_pictures, "save", lambda figure, _: figures.append(figure))
        text_pictures.spending(texts, target, tmp_path / "picture.png")
        return figures[0].axes

    return draw


@pytest.mark.parametrize(
    "texts",
    [
        [spent("great")],
        [spent("free", share=0.0)],
        [spent("$", "5", "$x^2$", "\\frac", "_", "日本", "\u2800", "x" * 1000, "m" * 200)],
        [spent(*["word"] * 1000), spent("a")],
    ],
    ids=["one word", "nothing spent", "odd words", "long and short"],
)
def test_spending_of_any_text(texts, tmp_path):
    path = tmp_path / "picture.png"
    text_pictures.spending(texts, 0.3, path)
    pixels = image.imread(path)
    assert pixels.shape[1] == 1600
    assert pixels[..., :3].std() > 0.03, "an empty page"


def test_a_bar_stands_above_its_word_and_sums_to_what_it_took(axes):
    """Experts, writes, reads on top of one another."""
    share = np.random.default_rng(0).random((3, 2)) / 3
    (ax,) = axes([SpentText(["good", "film"], Spending(*share), "positive")])
    bars = np.array([(bar.get_y(), bar.get_height()) for bar in ax.patches]).reshape(3, 2, 2)
    np.testing.assert_allclose(bars[..., 1], share)
    np.testing.assert_allclose(bars[..., 0], np.cumsum(share, axis=0) - share, atol=1e-12)
    at = {text.get_text(): text.xy[0] for text in ax.texts}
    centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches[:2]]
    np.testing.assert_allclose([at["good"], at["film"]], centres)


def test_no_word_is_lost_between_lines(axes):
    words = [f"{'x' * (n % 30)}{n}" for n in range(40)]
    lines = axes([spent(*words)])
    assert len(lines) > 2
    labels = [text.get_text() for ax in lines for text in ax.texts]
    assert labels == [text_pictures.label(word) for word in words]
    for ax in lines:
        ends = [end for text in ax.texts for end in text.get_window_extent().intervalx]
        assert ends == sorted(ends), "words overlap"
        assert ends[-1] < ax.figure.bbox.x1, "a word is cut off"


def test_more_words_than_fit_are_reported(axes):
    lines = axes([spent(*["word"] * (SHOWN_WORDS + 1))])
    assert sum(len(ax.texts) for ax in lines) == SHOWN_WORDS
    heading = lines[0].figure.texts[0].get_text()
    assert f"(its first {SHOWN_WORDS} of {SHOWN_WORDS + 1} words)" in heading


def test_a_label_shows_what_can_be_drawn():
    """matplotlib warns of a character that its font lacks, on the user's terminal."""
    assert text_pictures.label("naïve") == "naïve"
    assert text_pictures.label("日本x") == "□□x"
    assert text_pictures.label("y" * 99) == "y" * LABEL_LENGTH + "…"
