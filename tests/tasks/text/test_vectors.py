"""Word vectors from a file: the wanted words at their own numbers, or one clear line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.vectors import read_vectors
from mocanet_jax.tasks.text.vocabulary import FIRST_WORD
from tests.tasks.text.small_corpus import small_task

GLOVE = "good 1 -2 0.5\nbad -1e0 2 -0.5\nunused 9 9 9\n"


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(GLOVE)
    return path


def test_a_text_file_gives_the_requested_words(glove):
    """Otherwise a word starts from another's meaning."""
    found = read_vectors(glove, ["good", "bad", "missing"], 3)
    assert set(found) == {"good", "bad"}
    np.testing.assert_array_equal(found["good"], np.float32([1, -2, 0.5]))
    np.testing.assert_array_equal(found["bad"], np.float32([-1, 2, -0.5]))


def test_an_npz_file_gives_the_same(glove, tmp_path):
    """Both forms are documented as equal."""
    path = tmp_path / "vectors.npz"
    np.savez(path, words=np.array(["good", "bad"]), vectors=[[1, -2, 0.5], [-1, 2, -0.5]])
    text, arrays = (read_vectors(file, ["good", "bad"], 3) for file in (glove, path))
    jax.tree.map(np.testing.assert_array_equal, text, arrays)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good 1 2\n", "line 1: 2 numbers, but config.model.width is 3"),
        (b"bad 1 2 3\ngood 1 x 3\n", "line 2: could not convert string to float"),
        (b"good 1 nan 3\n", "line 1: nan is not a finite float32 number"),
        (b"good 1 2 3\n\xff\xfe", "not UTF-8 text"),
    ],
)
def test_a_damaged_text_file_is_reported_with_its_line(tmp_path, content, message):
    """A vector that is cut or shifted would be trained on unnoticed."""
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_vectors(path, ["good"], 3)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_other_files_are_refused(tmp_path):
    """Nothing is unpickled, and a missing file is no reason for a traceback."""
    pickled, other, missing = (tmp_path / name for name in ("a.npz", "b.npz", "c.txt"))
    np.savez(pickled, words=np.array([{"a": 1}], object), vectors=np.ones((1, 3)))
    other.write_text(GLOVE)
    empty, single, folder = (tmp_path / name for name in ("d.npz", "e.npz", "f.npz"))
    empty.touch()
    np.save(tmp_path / "e.npy", np.ones(3))
    (tmp_path / "e.npy").rename(single)
    folder.mkdir()
    for path in (pickled, other, missing, empty, single, folder):
        with pytest.raises(UserError, match=path.name):
            read_vectors(path, ["good"], 3)


def test_vectors_of_another_count_than_words_are_refused(tmp_path):
    """Words and rows would be out of step."""
    path = tmp_path / "vectors.npz"
    np.savez(path, words=np.array(["good", "bad"]), vectors=np.ones((3, 3)))
    with pytest.raises(UserError, match="do not fit together"):
        read_vectors(path, ["good"], 3)


def test_known_words_start_from_the_file_in_every_member(tmp_path):
    """At the scale of the table: a row of the file is a multiple of the row that starts, with
    one factor for all, and words that the file lacks keep their random start."""
    words = small_task().vocabulary.words
    listed = dict(zip(words[:2], ([3.0, -1.0], [0.5, 2.0]), strict=True))
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {a} {b}\n" for word, (a, b) in listed.items()))
    table = jax.random.normal(jax.random.key(0), (2, FIRST_WORD + len(words), 2))
    params = {"members": {"embed": {"words": {"embedding": table}}, "head": jnp.ones(1)}}
    started = small_task(pretrained_embeddings=str(path)).initialise(params)["members"]
    after = np.asarray(started["embed"]["words"]["embedding"])
    rows = after[:, FIRST_WORD : FIRST_WORD + 2] / np.array(list(listed.values()))
    np.testing.assert_allclose(rows, rows[0, 0, 0], rtol=1e-6)
    assert rows[0, 0, 0] > 0
    np.testing.assert_array_equal(after[:, FIRST_WORD + 2 :], table[:, FIRST_WORD + 2 :])
    np.testing.assert_array_equal(after[:, :FIRST_WORD], table[:, :FIRST_WORD])
    assert started["head"] is params["members"]["head"]


def test_a_file_without_a_known_word_is_refused(glove):
    """It is the wrong file: another language, or words in capitals; or numbers that are all
    the same, which have no scale."""
    table = jnp.zeros((1, 40, 3))
    params = {"members": {"embed": {"words": {"embedding": table}}}}
    task = small_task(pretrained_embeddings=str(glove))
    glove.write_text("Zz 1 2 3\n")
    with pytest.raises(UserError, match="no word of the vocabulary"):
        task.initialise(params)
    glove.write_text("film 2 2 2\n")
    with pytest.raises(UserError, match=r"vectors\.txt: all numbers are the same"):
        task.initialise(params)
