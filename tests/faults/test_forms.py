"""Files of texts and of word vectors in the forms in which the field keeps them: read as what
they are, or refused in one line that names the form.

To add a case is to add a line to a table.
"""

import gzip
import io
import re
import zipfile

import numpy as np
import pytest

from mocanet_jax.chat import read_texts
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import read_tsv
from mocanet_jax.tasks.text.vectors import read_vectors
from mocanet_jax.tasks.text.vocabulary import FIRST_WORD
from tests.tasks.text.small_corpus import small_task

TSV = "sentence\tlabel\nA warm café .\t1\nit 's dull\t0\n"
ROWS = [("A warm café .", 1), ("it 's dull", 0)]
QUOTED = [('a "fine" film', 1), ("dull", 0)]
LITERAL = [('"fine" they said', 1), ('"dull"', 0)]
OPEN = [('"fine film', 1), ('dull "', 0)]
NEW_LINES = [("one\ntwo\tthree", 1), ("dull", 0)]

TABLES = {
    "LF": (TSV, ROWS),
    "CRLF": (TSV.replace("\n", "\r\n"), ROWS),
    "CR": (TSV.replace("\n", "\r"), ROWS),
    "BOM": ("\ufeff" + TSV, ROWS),
    "BOM and CRLF": ("\ufeff" + TSV.replace("\n", "\r\n"), ROWS),
    "UTF-16": (TSV.encode("utf-16"), ROWS),
    "UTF-16, big end first": (b"\xfe\xff" + TSV.encode("utf-16-be"), ROWS),
    "UTF-16 and CRLF": (TSV.replace("\n", "\r\n").encode("utf-16"), ROWS),
    "UTF-32": (TSV.encode("utf-32"), ROWS),
    "empty lines at the end": (TSV + "\n\n\n", ROWS),
    "label first": ("label\tsentence\n1\tA warm café .\n0\tit 's dull\n", ROWS),
    "index first": ("idx\tsentence\tlabel\n0\tA warm café .\t1\n1\tit 's dull\t0\n", ROWS),
    "index last": (TSV.replace("\n", "\t7\n").replace("label\t7", "label\tidx"), ROWS),
    "capitals": (TSV.replace("sentence\tlabel", "Sentence\tLabel"), ROWS),
    "spaces in the header": (TSV.replace("sentence\tlabel", "sentence \t label"), ROWS),
    "CSV": ("sentence,label\nA warm café .,1\nit 's dull,0\n", ROWS),
    "CSV and empty lines at the end": (
        "sentence,label\nA warm café .,1\nit 's dull,0\n\n\n",
        ROWS,
    ),
    "CSV and BOM": ("\ufeffsentence,label\nA warm café .,1\nit 's dull,0\n", ROWS),
    "CSV with quotes": ('sentence,label\n"a ""fine"" film",1\ndull,0\n', QUOTED),
    "CSV, all in quotes": ('"sentence","label"\n"a ""fine"" film","1"\n"dull","0"\n', QUOTED),
    "CSV with line ends": ('sentence,label\n"one\ntwo\tthree",1\ndull,0\n', NEW_LINES),
    "CSV and columns of one's own": (
        "genre,sentence,label\nx,A warm café .,1\nx,it 's dull,0\n",
        ROWS,
    ),
    "CSV with spaces": ("sentence, label\nA warm café .,1\nit 's dull, 0\n", ROWS),
    "TSV with quotes": ('sentence\tlabel\n"a ""fine"" film"\t1\ndull\t0\n', QUOTED),
    "TSV, all in quotes": (
        '"sentence"\t"label"\n"one\ntwo\tthree"\t"1"\n"dull"\t"0"\n',
        NEW_LINES,
    ),
    "quotes of the text": (
        'sentence\tlabel\n"fine" they said\t1\n"dull"\t0\n',
        [('"fine" they said', 1), ('"dull"', 0)],
    ),
    "an open quote": (
        'sentence\tlabel\n"fine film\t1\ndull "\t0\n',
        [('"fine film', 1), ('dull "', 0)],
    ),
}


def encoded(content):
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read_as_what_it_is(tmp_path, form):
    content, rows = TABLES[form]
    path = tmp_path / "dev.tsv"
    path.write_bytes(encoded(content))
    found = read_tsv(path, 2)
    assert [*zip(found.texts, found.labels.tolist(), strict=True)] == rows


@pytest.mark.parametrize("form", TABLES)
def test_the_sentences_of_a_table_are_judged(tmp_path, form):
    """And not its labels, indices and quotes."""
    content, rows = TABLES[form]
    path = tmp_path / "dev.tsv"
    path.write_bytes(encoded(content))
    assert read_texts(path) == [text for text, _ in rows]


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("dev.tsv", TSV)
    return file.getvalue()


REFUSED = {
    "gzip": (gzip.compress(TSV.encode()), "compressed by gzip"),
    "zip": (zipped(), "a zip archive"),
    "Parquet": (b"PAR1\x15\x04", "a Parquet file"),
    "NumPy": (b"\x93NUMPY\x01\x00", "an array of NumPy"),
    "SQLite": (b"SQLite format 3\0\x10", "a database of SQLite"),
    "pickle": (b"\x80\x04\x95\x1d\0", "a pickle of Python"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0", "a picture"),
    "JPEG": (b"\xff\xd8\xff\xe0\0", "a picture"),
    "UTF-16 without a mark": (TSV.encode("utf-16-le"), "UTF-16 without a byte order mark"),
    "UTF-16, big end first": (TSV.encode("utf-16-be"), "UTF-16 without a byte order mark"),
}
"""What neither a table nor a list of texts nor word vectors are."""

REFUSED_TABLES = {
    "Latin-1": (TSV.encode("latin-1"), "not UTF-8 at byte 25; save it as UTF-8"),
    "cut in a letter": (TSV.encode()[:26], "not UTF-8 at byte 25"),
    "test sentences of GLUE": ("index\tsentence\n0\tgood\n", "the header must be"),
    "no header": ("good\t1\n", "the header must be sentence<TAB>label"),
    "JSON": ('{"sentence": "good", "label": 1}\n', "the header must be"),
    "semicolons": ("sentence;label\ngood;1\n", "the header must be"),
    "a tab in the text": (
        TSV + "good\tfilm\t1\n",
        "line 4: the label must be a whole number from 0 to 1, not 'film'; the line has 1 more "
        "columns than the header",
    ),
    "an index without a label": (
        "idx\tsentence\tlabel\n0\tgood\n",
        "line 2: expected idx<TAB>",
    ),
    "a quote that is not closed": ('sentence,label\n"good,1\n', "line 2: unexpected end"),
    "no texts": ("sentence\tlabel\n\n\n", "no rows below the header"),
}


def assert_named(read, path, content, message):
    """`read()` refuses a file at `path` in one line with its name and `message`."""
    path.write_bytes(encoded(content))
    with pytest.raises(UserError) as error:
        read()
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", REFUSED | REFUSED_TABLES)
def test_another_form_is_named(tmp_path, form):
    path = tmp_path / "dev.tsv"
    assert_named(lambda: read_tsv(path, 2), path, *(REFUSED | REFUSED_TABLES)[form])


@pytest.mark.parametrize("form", REFUSED)
def test_a_file_that_is_no_text_is_not_judged_as_one(tmp_path, form):
    content, message = REFUSED[form]
    path = tmp_path / "texts"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_texts(path)


LISTS = {
    "lines": ("good film\ndull\n", ["good film", "dull"]),
    "no last line end": ("good film\ndull", ["good film", "dull"]),
    "index": ("index\tsentence\n0\tgood film\n1\tdull\n", ["good film", "dull"]),
    "a row without a sentence": ("index\tsentence\n0\n1\tdull\n", ["", "dull"]),
    "CSV without quotes": ("id,sentence\n0,good film\n1,dull\n", ["good film", "dull"]),
    "the word alone": ("sentence\ngood film\n", ["good film"]),
    "the word in a text": ("a sentence, dull\ngood\n", ["a sentence, dull", "good"]),
    "the word between commas": (
        "One more, sentence, dull.\ngood, sentence\n",
        ["One more, sentence, dull.", "good, sentence"],
    ),
    "the word first": (
        "Sentence, in short, dull.\ngood\n",
        ["Sentence, in short, dull.", "good"],
    ),
    "the word last": ("dull, sentence\ngood\n", ["dull, sentence", "good"]),
    "the word between commas without spaces": (
        "good,sentence,fine\nx\n",
        ["good,sentence,fine", "x"],
    ),
    "the word in quotes": ('"sentence", he said\nx\n', ['"sentence", he said', "x"]),
    "both words": ("a label, sentence, label\nx\n", ["a label, sentence, label", "x"]),
    "the index of pandas": (",sentence\n0,good film\n1,dull\n", ["good film", "dull"]),
    "tabs in texts": ("good\tfilm\ndull\n", ["good\tfilm", "dull"]),
    "empty": ("", []),
    "Latin-1": ("caf\xe9\n".encode("latin-1"), ["caf\ufffd"]),
}


@pytest.mark.parametrize("form", LISTS)
def test_a_list_of_texts_is_read_line_by_line(tmp_path, form):
    content, texts = LISTS[form]
    path = tmp_path / "texts"
    path.write_bytes(encoded(content))
    assert read_texts(path) == texts


GLOVE = "good 1 -2 0.5\nbad -1 2 -0.5\n"

VECTORS = {
    "GloVe": GLOVE,
    "word2vec": "2 3\n" + GLOVE,
    "fastText": "2 3\n" + GLOVE.replace("\n", " \n"),
    "BOM": "\ufeff" + GLOVE,
    "CRLF": GLOVE.replace("\n", "\r\n"),
    "tabs": GLOVE.replace(" ", "\t"),
    "UTF-16": GLOVE.encode("utf-16"),
    "words with spaces": ". . . 9 9 9\nat name@domain.com 9 9 9\n" + GLOVE,
    "words of white space": "a\u00a0b 9 9 9\n\u2028 9 9 9\n\x85 9 9 9\n" + GLOVE,
    "words that are numbers": "2000 9 9 9\nnan 9 9 9\n" + GLOVE,
    "exponents": GLOVE.replace("-2", "-2e0").replace("0.5", "5.0E-1"),
    "empty lines": "\n" + GLOVE.replace("\n", "\n\n"),
}


@pytest.mark.parametrize("form", VECTORS)
def test_vectors_are_read_as_what_they_are(tmp_path, form):
    path = tmp_path / "vectors.txt"
    path.write_bytes(encoded(VECTORS[form]))
    found = read_vectors(path, ["good", "bad"], 3)
    np.testing.assert_array_equal(found["good"], np.float32([1, -2, 0.5]))
    np.testing.assert_array_equal(found["bad"], np.float32([-1, 2, -0.5]))


REFUSED_VECTORS = {
    "too narrow": ("good 1 2\n", "line 1: 2 numbers, but config.model.width is 3"),
    "too wide": ("good 1 2 3 4\n", "line 1: 4 numbers, but config.model.width is 3"),
    "wider than the header says": ("1 3\ngood 1 2 3 4\n", "line 2: 4 numbers"),
    "cut": (GLOVE + "film 1\n", "line 3: 1 numbers"),
    "no numbers": ("good\n", "line 1: 0 numbers"),
    "commas": ("good,1,2,3\n", "line 1: 0 numbers"),
    "infinite": ("bad 1 2 3\n\ngood 1 inf 3\n", "line 3: inf is not a finite float32 number"),
    "minus infinity": ("good 1 2 -Infinity\n", "line 1: -Infinity is not a finite"),
    "NaN": ("1 3\ngood nan 2 3\n", "line 2: nan is not a finite"),
    "too large": ("bad 1 2 3\ngood 1 -1e39 3\n", "line 2: -1e39 is not a finite"),
    "no number": ("good 1 x 3\n", "line 1: could not convert string to float"),
    "binary": (b"2 3\ngood \x00\x00\x80\x3f\x00\x00\x00\xc0", "binary form"),
}


@pytest.mark.parametrize("form", REFUSED | REFUSED_VECTORS)
def test_other_vectors_are_named(tmp_path, form):
    path = tmp_path / "vectors.txt"
    read = lambda: read_vectors(path, ["good"], 3)
    assert_named(read, path, *(REFUSED | REFUSED_VECTORS)[form])


@pytest.mark.parametrize("value", [np.inf, np.nan, -1e39])
def test_arrays_of_no_finite_numbers_are_named(tmp_path, value):
    path = tmp_path / "vectors.npz"
    np.savez(path, words=np.array(["bad", "good"]), vectors=[[1.0, 2.0], [1.0, value]])
    message = f"vectors.npz, good: {value} is not a finite float32 number"
    with pytest.raises(UserError, match=re.escape(message)):
        read_vectors(path, ["good", "bad"], 2)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_vectors_of_any_size_start_at_the_scale_of_the_table(tmp_path, size):
    """Squares of large numbers overflowed, and every row that the file has was 0."""
    words = small_task().vocabulary.words
    path = tmp_path / "vectors.txt"
    path.write_text(f"{words[0]} {3 * size} {-size}\n{words[1]} {size} {2 * size}\n")
    table = np.random.default_rng(0).normal(size=(1, FIRST_WORD + len(words), 2))
    params = {"members": {"embed": {"words": {"embedding": np.float32(table)}}}}
    task = small_task(pretrained_embeddings=str(path))
    found = task.initialise(params)["members"]["embed"]["words"]["embedding"]
    rows = np.asarray(found)[0, FIRST_WORD : FIRST_WORD + 2]
    assert 0.3 < rows.std() < 3
    np.testing.assert_allclose(rows / rows[1, 0], [[3, -1], [1, 2]], rtol=1e-5)
