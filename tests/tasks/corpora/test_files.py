"""Where text comes from: layouts, cuts, named data sets, and what is refused.

Nothing here uses the network. The test of the real text reads a folder with tiny_shakespeare's
input.txt that is named in the environment variable MOCANET_SHAKESPEARE.
"""

import gzip
import lzma
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora import chunks as chunks_module
from mocanet_jax.tasks.corpora.chunks import documents_of, recut
from mocanet_jax.tasks.corpora.files import Shares, read_corpus

SHARES = Shares(valid=0.2, test=0.1)


def write(folder, **contents):
    """Files of a folder; __ in a name is a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def read(path, documents="none", shares=SHARES):
    """The text of each split."""
    texts = read_corpus(str(path), shares, documents)
    return {split: "".join(text) for split, text in texts.items()}


def refused(path, documents="none"):
    """The one line that says why."""
    with pytest.raises(UserError) as error:
        read(path, documents)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture
def small_chunks(monkeypatch):
    """Files are read 16 bytes at a time."""
    monkeypatch.setattr(chunks_module, "CHUNK", 16)


NAMES = [
    "train__txt",
    "ptb__train__txt",
    "wiki__train__tokens",
    "train__txt__gz",
    "train__txt__xz",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_has_its_splits_in_files(name, tmp_path):
    """PTB and WikiText would have to be renamed or unpacked, or splits are swapped."""
    pack = {"gz": gzip.compress, "xz": lzma.compress}.get(name[-2:], bytes)
    texts = {"train": "to be\n", "valid": "or not é\n", "test": "to\n"}
    files = {name.replace("train", s): pack(text.encode()) for s, text in texts.items()}
    assert read(write(tmp_path, **files, README="x")) == texts
    (tmp_path / name.replace("train", "test").replace("__", ".")).unlink()
    assert read(tmp_path) == {"train": "to be\n", "valid": "or not é\n"}


def test_a_folder_without_a_split_or_with_two_of_one(tmp_path):
    """A model would be chosen on text that it was trained on, or on the wrong file."""
    write(tmp_path, train__txt="a b")
    message = refused(tmp_path)
    assert str(tmp_path) in message
    assert "no file for the split valid" in message
    assert "train.txt, valid.txt" in message
    write(tmp_path, valid__txt="a", valid__txt__gz=gzip.compress(b"b"))
    assert "several files for the split valid: valid.txt, valid.txt.gz" in refused(tmp_path)


def test_a_file_is_cut_at_exact_characters(tmp_path):
    """Numbers of bytes differ from those of characters, and scores are compared with those of
    the same cut elsewhere."""
    (tmp_path / "a.txt").write_text("éabcdefghi" * 10, encoding="utf-8")
    texts = read(tmp_path / "a.txt")
    assert [len(text) for text in texts.values()] == [70, 20, 10]
    assert "".join(texts.values()) == "éabcdefghi" * 10
    assert read(tmp_path / "a.txt", shares=Shares(0.1, 0)).keys() == {"train", "valid"}


@pytest.mark.usefixtures("small_chunks")
def test_a_file_of_documents_is_cut_between_documents(tmp_path):
    """A document whose beginning was trained on would be validated on. Blank lines count as
    none, and line ends of Windows are no part of a document."""
    lines = [f"line {'long ' * (i % 3)}{i}" for i in range(10)]
    (tmp_path / "a.md").write_bytes("\r\n \r\n".join(lines).encode())
    texts = read(tmp_path / "a.md", "lines")
    assert [documents_of(text) for text in texts.values()] == [lines[:7], lines[7:9], lines[9:]]


@pytest.mark.usefixtures("small_chunks")
def test_a_text_is_read_again_and_whole(tmp_path):
    """Tokens are counted in one pass and encoded in another. Letters lie across the borders
    of what is read at a time; the mark of byte order is no character; line ends stay."""
    text = "naïve café\r\n日本語 text " * 9
    write(tmp_path, train__txt=b"\xef\xbb\xbf" + text.encode(), valid__txt="a b")
    train = read_corpus(str(tmp_path), SHARES, "none")["train"]
    assert "".join(train) == "".join(train) == text
    assert len(list(train)) > 3


@given(st.lists(st.text("ab \n", max_size=6)))
def test_words_and_lines_are_not_cut(pieces):
    """Halves of a word would be counted as words of their own."""
    text = "".join(pieces)
    for documents in (False, True):
        chunks = list(recut(pieces, documents))
        assert "".join(chunks) == text
        assert [word for chunk in chunks for word in chunk.split()] == text.split()
        assert not documents or all(chunk.endswith("\n") for chunk in chunks[:-1])


def test_what_cannot_be_read_is_told_in_one_line(tmp_path):
    """Otherwise a traceback of a codec, without the file's name, after minutes of reading."""
    content = np.random.default_rng(0).bytes(999)
    packed = {"gz": gzip.compress(content), "xz": lzma.compress(content)}
    for suffix, content in packed.items():
        file = tmp_path / f"a.{suffix}"
        for damaged in (content[:500], content[:400] + b"\0" * 9 + content[409:]):
            file.write_bytes(damaged)
            assert refused(file).startswith(
                f"{file}: the compressed file is truncated or damaged"
            )
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffé".encode() + b"abc\xffdef")
    assert refused(file) == f"{file}: not UTF-8 at byte 8; save it as UTF-8"
    file.write_bytes(b"abc\xc3")
    assert "not UTF-8 at byte 3" in refused(file)
    file.write_bytes(b"\x28\xb5\x2f\xfd zstd")
    assert refused(file).startswith(f"{file}: it is compressed by zstd")
    for content in (b"", b" \n\r\n"):
        file.write_bytes(content)
        assert refused(file) == f"{file} is empty; a corpus needs some text"
    file.write_text("ab")
    assert "the split valid is empty" in refused(file)


@pytest.mark.usefixtures("small_chunks")
def test_a_wrong_byte_far_inside_is_named_by_its_place(tmp_path):
    """The file is read in parts, and the place in a part helps nobody."""
    file = tmp_path / "a.txt"
    file.write_bytes("é".encode() * 50 + b"\xe9 end")
    assert "not UTF-8 at byte 100;" in refused(file)


def test_an_empty_split_of_a_folder(tmp_path):
    """Its loss is a mean over nothing."""
    write(tmp_path, train__txt="a b", valid__txt="\n")
    assert refused(tmp_path).startswith(f"{tmp_path}/valid.txt: the split valid is empty")


def test_a_folder_or_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Data of others is often readable to a group only."""
    write(tmp_path, train__txt="a b", valid__txt="a b")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert refused(tmp_path) == f"{tmp_path}/train.txt cannot be read: Permission denied"
    monkeypatch.setattr(Path, "iterdir", denied)
    assert refused(tmp_path) == f"{tmp_path} cannot be read: Permission denied"


def test_a_path_that_does_not_exist_is_answered_with_a_near_one(tmp_path):
    """A typing error should not cost a search."""
    assert "did you mean tiny_shakespeare?" in refused("tiny_shakspeare")
    (tmp_path / "corpus.txt").write_text("a")
    assert f"did you mean {tmp_path / 'corpus.txt'}?" in refused(tmp_path / "corpsu.txt")
    for path in ("", "zzz"):
        message = refused(path)
        assert "did you mean" not in message
        assert f"config.data.path={path!r}" in message
        assert "imdb_reviews, lm1b, tiny_shakespeare" in message


def test_settings_that_make_no_splits(tmp_path):
    """They would show as an empty split, or not at all."""
    for valid, test in ((0, 0.1), (0.5, 0.5), (-0.1, 0), (1, 0), (float("nan"), 0)):
        with pytest.raises(UserError, match="shares of a corpus"):
            Shares(valid, test)
    assert "config.data.documents must be one of none, lines" in refused(tmp_path, "file")


PLAY = "First Citizen:\nSpeak, speak.\n" * 40


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """TensorFlow Datasets in a folder of its own; it 'downloads' what is in tmp_path."""
    monkeypatch.setattr(tfds, "builder", partial(tfds.builder, data_dir=tmp_path / "tfds"))
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    (tmp_path / "input.txt").write_text(PLAY)
    manager = "tensorflow_datasets.core.download.DownloadManager."
    monkeypatch.setattr(manager + "download", lambda *_: tmp_path / "input.txt")
    return monkeypatch


@pytest.mark.usefixtures("datasets")
def test_tiny_shakespeare_by_its_name():
    """Its builder asks for TensorFlow, which this package does without."""
    texts = read("tiny_shakespeare")
    size = len(PLAY)
    assert [*texts] == ["train", "valid", "test"]
    assert "".join(texts.values()) == PLAY
    assert [len(text) for text in texts.values()] == [size * 9 // 10, size // 20, size // 20]


def test_reviews_by_their_name(datasets):
    """A part of the training texts must be held out, none of them met twice, and a review of
    several lines must stay one document."""
    files = {
        f"aclImdb/{folder}/{i}_7.txt": f"{folder} {i}\nso\n"
        for folder in ("train/pos", "train/neg", "train/unsup", "test/pos")
        for i in range(5)
    }

    class File:
        def __init__(self, text):
            self.read = lambda: text

    manager = "tensorflow_datasets.core.download.DownloadManager."
    datasets.setattr(
        manager + "iter_archive", lambda *_: ((name, File(t)) for name, t in files.items())
    )
    texts = {split: documents_of(text) for split, text in read("imdb_reviews", "lines").items()}
    assert {split: len(found) for split, found in texts.items()} == {
        "train": 12,
        "valid": 3,
        "test": 5,
    }
    assert all(text.startswith("test/") and text.endswith(" so") for text in texts["test"])
    assert len({*texts["train"], *texts["valid"]}) == 15
    assert sum(text.startswith("train/unsup") for text in texts["valid"]) == 1


@pytest.mark.parametrize("name", ["imdb_reviews", "lm1b", "tiny_shakespeare"])
def test_a_name_without_data_and_network(name, datasets):
    """TensorFlow Datasets itself tries again for minutes and then prints a traceback."""

    def head(address, timeout):
        raise requests.ConnectionError("no route")

    datasets.setattr(requests, "head", head)
    message = refused(name)
    assert message.startswith(f"{name} is not in ")
    assert "--config.data.path=FILE_OR_DIR" in message


def test_a_name_in_a_form_that_needs_tensorflow(datasets, tmp_path):
    """Whoever used this data set with TensorFlow has it as tfrecord files."""
    read("tiny_shakespeare")
    (info,) = (tmp_path / "tfds").rglob("dataset_info.json")
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    message = refused("tiny_shakespeare")
    assert str(info.parent) in message
    assert "--config.data.path=FILE_OR_DIR" in message


REAL = os.environ.get("MOCANET_SHAKESPEARE", "")


@pytest.mark.skipif(not REAL, reason="MOCANET_SHAKESPEARE names no folder")
def test_the_real_shakespeare_is_split_as_nanogpt_splits_it():
    """Its published losses are of the last 10 % of the characters."""
    whole = Path(REAL, "input.txt").read_text(encoding="utf-8")
    texts = read(Path(REAL, "input.txt"), shares=Shares(0.1, 0))
    assert len(whole) == 1_115_394
    cut = int(len(whole) * 0.9)
    assert texts == {"train": whole[:cut], "valid": whole[cut:]}


def test_lines_are_stripped(tmp_path):
    """As the characters of the Penn Treebank are counted elsewhere; other spaces stay."""
    (tmp_path / "text.txt").write_text(" a  b \n c\n", encoding="utf-8")
    read = chunks_module.file_chunks
    text = chunks_module.Text("here", lambda: read(tmp_path / "text.txt", False))
    assert "".join(chunks_module.stripped(text)) == "a  b\nc\n"
