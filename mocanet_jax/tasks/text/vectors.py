"""Word vectors from a file.

A text has a word and its numbers on each line, separated by spaces or tabs, as GloVe has it;
the first line of word2vec and fastText, two numbers, is passed over. An npz file has two
arrays, `words` (str [N]) and `vectors` (float [N, D]).
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import regular
from mocanet_jax.tasks.text.tables import encoding_of

SEPARATOR = re.compile("[ \t]+")


def read_vectors(path: Path, words: Iterable[str], width: int) -> dict[str, np.ndarray]:
    """float32 [width] for each of `words` that the file has.

    Raises UserError that names the file, and the line of a text file, for anything that is
    not such a file, or vectors of another width.
    """
    wanted = set(words)
    rows = _read_npz(path) if path.suffix == ".npz" else _read_text(path, width)
    found = {}
    for where, word, vector in rows:
        if len(vector) != width:
            raise UserError(
                f"{where}: {len(vector)} numbers, but config.model.width is {width}"
            )
        if word in wanted:
            try:
                with np.errstate(over="ignore"):  # it is reported below
                    found[word] = np.array(vector, np.float32)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from error
            finite = np.isfinite(found[word])
            if not finite.all():
                written = vector[np.argmin(finite)]
                raise UserError(f"{where}: {written} is not a finite float32 number")
    return found


def _read_text(path, width):
    try:
        with regular(path).open("rb") as file:
            encoding = encoding_of(file.read(64))
        # Words may hold any white space but these.
        with path.open(encoding=encoding, newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                fields = SEPARATOR.split(line.rstrip(" \t\r\n"))
                if fields == [""] or (number == 1 and width != 1 and _is_header(fields)):
                    continue
                yield f"{path}, line {number}", *_word_and_vector(fields, width)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text; vectors of word2vec's or fastText's binary form have to "
            "be saved as text first"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _is_header(fields):
    """Number of words and width, as word2vec and fastText write them."""
    return len(fields) == 2 and all(field.isdecimal() for field in fields)


def _word_and_vector(fields, width):
    """The last `width` fields are numbers, what is before them is a word, which has spaces in
    some files; but not a number among numbers, of a vector that is too long."""
    first = max(1, len(fields) - width)
    if any(map(_is_number, fields[1:first])):
        first = 1
    return " ".join(fields[:first]), fields[first:]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            words, vectors = arrays["words"], arrays["vectors"]
    except Exception as error:  # what NumPy raises for other files has no common class
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is not an npz file with words and vectors: {reason}"
        ) from error
    if vectors.ndim != 2 or words.shape != vectors.shape[:1]:
        raise UserError(
            f"{path}: words {words.shape} and vectors {vectors.shape} do not fit together"
        )
    for word, vector in zip(words, vectors, strict=True):
        yield f"{path}, {word}", str(word), vector
