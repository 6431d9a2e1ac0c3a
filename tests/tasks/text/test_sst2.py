"""SST-2: read from a folder or from TensorFlow Datasets.

Nothing here uses the network. TensorFlow Datasets itself is the real one, in a folder of its
own. The tests of the real data read a folder with GLUE's train.tsv and dev.tsv that is named
in the environment variable MOCANET_SST2.
"""

import os
from functools import lru_cache, partial

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from etils import epath

from mocanet_jax.report.corpus import describe
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.composition import composed
from mocanet_jax.tasks.text.sst2 import Sst2Task, read_sst2
from tests.tasks.text.small_corpus import SETTINGS

TRAIN = [
    ("a warm film", 1),
    ("dull", 0),
    ("warm café", 1),
    ("a dull , dull film", 0),
    ("film", 1),
]
VALIDATION = [("a witty film", 1), ("so dull", 0)]

DOWNLOAD = "tensorflow_datasets.core.download.DownloadManager.download_and_extract"


def tsv(rows):
    return "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)


@pytest.fixture
def folder(tmp_path):
    """GLUE's two files."""
    (tmp_path / "train.tsv").write_text(tsv(TRAIN), encoding="utf-8")
    (tmp_path / "dev.tsv").write_text(tsv(VALIDATION), encoding="utf-8")
    return tmp_path


def test_a_folder_of_files(folder):
    """Otherwise the splits are swapped, or the task trains on something else."""
    for split, rows in (("train", TRAIN), ("validation", VALIDATION)):
        texts = read_sst2(str(folder), split)
        assert list(zip(texts.texts, texts.labels.tolist(), strict=True)) == rows
    task = Sst2Task(**SETTINGS | {"path": str(folder)})
    assert task.read_train().texts == [text for text, _ in TRAIN]
    assert task.evaluation_texts.texts == [text for text, _ in VALIDATION]
    assert task.classes[0] == "negative"
    assert task.classes[1] == "positive"
    assert len(task.classes) == 2


@pytest.mark.parametrize(("split", "name"), [("train", "train.tsv"), ("validation", "dev.tsv")])
def test_a_folder_without_the_file(split, name, folder):
    """A mistyped path must say which flag it came from and what was looked for."""
    (folder / name).unlink()
    for path in (folder, folder / "none", folder / "dev.tsv"):
        with pytest.raises(UserError) as error:
            read_sst2(str(path), split)
        assert str(error.value).startswith(f"{path}: there is no {name}; --config.data.path")


def test_only_two_labels(folder):
    """Stars from 0 to 4, as the treebank itself has them, are another task."""
    (folder / "dev.tsv").write_text(tsv([("good", 4)]))
    with pytest.raises(UserError, match=r"dev\.tsv, line 2: .* from 0 to 1, not '4'"):
        read_sst2(str(folder), "validation")


REVIEWS = [
    *(
        (f"{word} {thing}", label)
        for thing in ("plot", "cast", "film", "joke")
        for word, label in (("dull", 0), ("tired", 0), ("warm", 1), ("witty", 1))
    ),
    *((word, label) for word, label in (("dull", 0), ("tired", 0), ("warm", 1), ("witty", 1))),
]


def composing(folder, **changes):
    (folder / "train.tsv").write_text(tsv(REVIEWS), encoding="utf-8")
    return Sst2Task(**SETTINGS | {"path": str(folder), "buckets": (2, 20)} | changes)


def trained_on(task):
    """How many texts of each label."""
    labels = [bucket.labels for bucket in task.batches.data.buckets]
    return np.bincount(np.concatenate(labels), minlength=2)


def test_composed_texts_are_trained_on_besides_the_corpus(folder):
    """Otherwise the settings are without effect, or replace the corpus. No sentence that is
    held out may be a part of them, or choice and calibration see what was trained on; and
    they are of the run's seed."""
    plain, task = composing(folder), composing(folder, contrasts=40, negations=30)
    assert trained_on(plain).sum() == len(plain.train_texts)
    added = trained_on(task) - trained_on(plain)
    assert added.sum() == 70
    more = task.augmentation()
    assert added.tolist() == np.bincount(more.labels).tolist()
    assert more.texts == composed(task.train_texts, 40, 30, task.seed).texts
    assert (
        more.texts != composing(folder, contrasts=40, negations=30, seed=1).augmentation().texts
    )
    assert len(task.held_out_texts) > 2
    for held_out in task.held_out_texts.texts:
        assert not any(held_out in text for text in more.texts)
    assert task.vocabulary == plain.vocabulary


@pytest.mark.parametrize("name", ["contrasts", "negations"])
def test_a_negative_number_of_composed_texts_is_refused(folder, name):
    """It would show as an error of a library, once the corpus has been read."""
    with pytest.raises(ValueError, match="contrasts and negations must not be negative"):
        composing(folder, **{name: -1})


@pytest.fixture
def requested(tmp_path, monkeypatch):
    """The addresses that were requested. TensorFlow Datasets keeps its data in an empty
    folder, and downloads nothing."""
    addresses = []

    def head(address, timeout):
        assert 0 < timeout <= 10
        addresses.append(address)

    monkeypatch.setattr(tfds, "builder", partial(tfds.builder, data_dir=tmp_path / "tfds"))
    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(DOWNLOAD, lambda *_: pytest.fail("something is downloaded"))
    return addresses


@pytest.mark.parametrize("failure", [requests.ConnectionError, requests.Timeout])
def test_without_data_and_network_it_says_what_to_do(failure, requested, tmp_path, monkeypatch):
    """TensorFlow Datasets itself tries again for minutes and then prints a traceback."""

    def head(address, timeout):
        requested.append(address)
        raise failure("no route")

    monkeypatch.setattr(requests, "head", head)
    with pytest.raises(UserError) as error:
        read_sst2("", "train")
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert str(tmp_path / "tfds") in message
    assert failure.__name__ in message
    assert "run once with a network connection" in message
    assert "--config.data.path=DIR" in message
    assert "train.tsv and dev.tsv" in message
    assert len(requested) == 1


@pytest.fixture
def downloaded(requested, folder, monkeypatch):
    """The training split of the first run with a network, which gets the folder's files."""
    glue = folder / "glue" / "SST-2"
    glue.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).rename(glue / name)
    (glue / "test.tsv").write_text("index\tsentence\n0\tfine\n")
    with monkeypatch.context() as online:
        online.setattr(DOWNLOAD, lambda *_: epath.Path(folder / "glue"))
        return read_sst2("", "train")


def test_data_from_tensorflow_datasets(downloaded, requested):
    """Otherwise the rows of one source are not those of the other; and what was downloaded
    once is read without the network."""
    validation = read_sst2("", "validation")
    assert len(requested) == 1
    assert requested[0].endswith("SST-2.zip")
    for texts, rows in ((downloaded, TRAIN), (validation, VALIDATION)):
        assert sorted(zip(texts.texts, texts.labels.tolist(), strict=True)) == sorted(rows)
        assert texts.labels.dtype == np.int32
    assert ["warm", "café"] in downloaded.tokens


@pytest.mark.usefixtures("downloaded")
def test_data_in_a_form_that_needs_tensorflow_is_reported_in_one_line(tmp_path):
    """Whoever used this data set with TensorFlow has it as tfrecord files."""
    (info,) = (tmp_path / "tfds").rglob("dataset_info.json")
    text = info.read_text()
    assert '"array_record"' in text
    info.write_text(text.replace('"array_record"', '"tfrecord"'))
    with pytest.raises(UserError) as error:
        read_sst2("", "train")
    assert str(info.parent) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.usefixtures("requested")
def test_a_download_that_fails_is_reported_in_one_line(monkeypatch):
    """A server that answers may still refuse, as it does once the address has moved."""

    def refuse(*_):
        raise tfds.download.DownloadError("403\nForbidden")

    monkeypatch.setattr(DOWNLOAD, refuse)
    with pytest.raises(UserError) as error:
        read_sst2("", "train")
    assert "--config.data.path=DIR" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


REAL = os.environ.get("MOCANET_SST2", "")
real = pytest.mark.skipif(not REAL, reason="MOCANET_SST2 names no folder")


@lru_cache
def real_split(split):
    return read_sst2(REAL, split)


@real
def test_the_real_sizes_and_balance():
    """Results would be of another data set than the published ones."""
    train, validation = real_split("train"), real_split("validation")
    assert (len(train), len(validation)) == (67_349, 872)
    assert np.bincount(train.labels).tolist() == [29_780, 37_569]
    assert np.bincount(validation.labels).tolist() == [428, 444]


@real
def test_a_description_of_the_real_data():
    """A corpus of full size must not run into a limit of the small one."""
    splits = real_split("train"), real_split("validation")
    lines = describe(*splits, Sst2Task.classes).splitlines()
    assert lines[0].startswith("train: 67,349 texts, ")
    assert lines[1].strip() == "negative: 44.2%, positive: 55.8%"
    assert lines[3].startswith("validation: 872 texts, ")
    assert lines[4].strip() == "negative: 49.1%, positive: 50.9%"
    assert len(lines) == 8 + 1 + 10
