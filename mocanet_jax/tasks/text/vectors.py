"""Word vectors from a file.

GloVe's text form has a word and its numbers on each line, separated by spaces. An npz file
has two arrays, `words` (str [N]) and `vectors` (float [N, D]).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mocanet_jax.runtime.errors import UserError


def read_vectors(path: Path, words: Iterable[str], width: int) -> dict[str, np.ndarray]:
    """float32 [width] for each of `words` that the file has.

    Raises UserError that names the file, and the line of a text file, for anything that is
    not such a file, or vectors of another width.
    """
    wanted = set(words)
    rows = _read_npz(path) if path.suffix == ".npz" else _read_text(path)
    found = {}
    for where, word, vector in rows:
        if len(vector) != width:
            raise UserError(
                f"{where}: {len(vector)} numbers, but config.model.width is {width}"
            )
        if word in wanted:
            try:
                found[word] = np.array(vector, np.float32)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from error
            if not np.all(np.isfinite(found[word])):
                raise UserError(f"{where}: a number is not finite")
    return found


def _read_text(path):
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                word, *vector = line.rstrip().split(" ")
                yield f"{path}, line {number}", word, vector
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


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
