"""Labelled corpora of TensorFlow Datasets, read from a download that the test makes up."""

from functools import partial
from io import StringIO

import pytest
import requests
import tensorflow_datasets as tfds

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.own import OwnTexts

MANAGER = "tensorflow_datasets.core.download.DownloadManager."
SETTINGS = {
    "path": "imdb_reviews",
    "eval_file": "",
    "pretrained_embeddings": "",
    "min_freq": 1,
    "max_vocab_size": 100,
    "num_pieces": 16,
    "max_pieces": 2,
    "buckets": (8,),
    "label_smoothing": 0.0,
    "seed": 0,
    "valid_share": 0.3,
}
PARTS = ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg")
FILES = {
    f"aclImdb/{part}/{i}_7.txt": f"{part}<br />number {i}\n" for part in PARTS for i in range(9)
}


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """TensorFlow Datasets in a folder of its own, which 'downloads' FILES."""
    monkeypatch.setattr(tfds, "builder", partial(tfds.builder, data_dir=tmp_path / "tfds"))
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    monkeypatch.setattr(MANAGER + "download", lambda *_: tmp_path)
    archive = [(name, StringIO(text)) for name, text in FILES.items()]
    monkeypatch.setattr(MANAGER + "iter_archive", lambda *_: iter(archive))
    return monkeypatch


@pytest.mark.usefixtures("datasets")
def test_reviews_have_their_labels_and_a_test_split():
    """Of training a share is for validation; reviews without a label are in no split."""
    task = OwnTexts(**SETTINGS)
    assert task.classes == ("neg", "pos")
    splits = (task.train_texts, task.held_out_texts, task.test_texts)
    assert len(splits[0]) + len(splits[1]) == 18
    assert len(splits[1]) > 0
    assert len(splits[2]) == 18
    for texts in splits:
        for words, label in zip(texts.tokens, texts.labels, strict=True):
            assert ("/pos" in words[0]) == (task.classes[label] == "pos"), words
            assert "unsup" not in words[0]
            assert words[1] == "number"  # a line end of HTML parts two words
    assert any("imdb_reviews, test" in line for line in task.remarks())


def test_without_data_and_network_it_says_what_to_do(datasets):
    def head(address, timeout):
        raise requests.ConnectionError("no route")

    datasets.setattr(requests, "head", head)
    with pytest.raises(UserError, match=r"imdb_reviews is not in .*data\.path=DIR, a folder"):
        OwnTexts(**SETTINGS).train_texts  # noqa: B018
