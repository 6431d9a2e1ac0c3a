"""The models that come with the package: small, honest, and right about plain English."""

import re
from pathlib import Path

import numpy as np
import pytest

import mocanet_jax as moca
from mocanet_jax import quality
from mocanet_jax.tasks.text.labelled import read_tsv
from mocanet_jax.tasks.text.nonsense import nonsense
from mocanet_jax.train.checkpoints import shipped

LARGEST = 8_000_000
"""Bytes of a model."""


@pytest.fixture(scope="module")
def sst2(tmp_path_factory):
    """By its name, from a folder that has nothing of that name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        return moca.load("sst2")


@pytest.mark.parametrize("name", shipped.names())
def test_a_model_is_small_and_has_a_card(name):
    """A package is downloaded whole; and nobody should use a model of unknown making."""
    folder = shipped.FOLDER / name
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("seed", "Licence", "mocanet train", "Teacher"):
        assert part.lower() in card.lower()
    assert not re.search(r"/(?:tmp|home|work|root)/", card)
    assert not re.search(r'"/\w', (folder / "model.json").read_text(encoding="utf-8"))


def test_it_judges_raw_english(sst2):
    """Eighty sentences of this project, half of them with negation, contrast or both."""
    sentences = read_tsv(Path(quality.SENTENCES), 2)
    found = np.array([sst2.predict(text).predicted for text in sentences.texts])
    assert np.mean(found == sentences.labels) >= 0.82


def test_it_knows_that_it_does_not_know(sst2):
    """A classifier that is sure of nonsense is trusted where it guesses. Texts are not those of
    training, though made alike."""
    made = nonsense(read_tsv(Path(quality.SENTENCES), 2), 2, count=100, seed=777)
    sure = np.array([sst2.predict(text).confidence for text in ["!!!", *made.texts]])
    assert sure[0] < 0.8
    assert np.mean(sure) < 0.7
    assert np.mean(sure >= 0.9) <= 0.05


def test_its_card_says_what_its_checkpoint_says(sst2):
    """The accuracy of validation is that of the model in the package, not of another."""
    card = (shipped.FOLDER / "sst2" / "README.md").read_text(encoding="utf-8")
    accuracy = sst2._predictor.validation["accuracy"]
    assert f"{accuracy:.2%}".replace("%", " %") in card
