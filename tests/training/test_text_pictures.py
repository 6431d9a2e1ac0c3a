"""Pictures of a classifier: complete PNG files that show their data, however little."""

import numpy as np
import pytest
from matplotlib import image

from mocanet_jax.training import calibration, text_pictures

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
