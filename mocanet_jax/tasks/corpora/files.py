"""Where the text of a language model comes from: a folder, a file or a name.

DIR     train.txt, valid.txt and, if wanted, test.txt, as PTB and WikiText have them
FILE    cut into contiguous splits
NAME    of TensorFlow Datasets (named.py), or facts and facts:N, which are generated (facts.py)
"""

import difflib
import re
from dataclasses import dataclass
from functools import partial

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.corpora.chunks import (
    Text,
    character_range,
    document_range,
    documents_of,
    file_chunks,
)
from mocanet_jax.tasks.corpora.facts import NAME as FACTS
from mocanet_jax.tasks.corpora.facts import is_facts, read_facts
from mocanet_jax.tasks.corpora.named import NAMED, read_named

SPLITS = ("train", "valid", "test")

DOCUMENTS = ("none", "lines")

SPLIT_FILE = re.compile(r"(?:.+\.)?(train|valid|test)\.(?:txt|tokens|raw)(?:\.gz|\.xz)?")
"""train.txt, ptb.valid.txt.gz, wiki.test.tokens."""

LAYOUT = (
    "train.txt, valid.txt and, if wanted, test.txt, or NAME.train.txt and so on, each also as "
    ".gz or .xz"
)


@dataclass(frozen=True)
class Shares:
    """Parts of a text that has no splits of its own, in [0, 1), together less than 1: of the
    characters, or of the documents. They are cut from its end, valid before test.

    Raises UserError for other numbers.
    """

    valid: float
    test: float

    def __post_init__(self):
        if not (0 < self.valid < 1 and 0 <= self.test < 1 and self.valid + self.test < 1):
            raise UserError(
                "the shares of a corpus must be in [0, 1) and sum to less than 1, that of "
                f"valid more than 0, not valid={self.valid} and test={self.test}"
            )

    def cuts(self, size: int) -> tuple[int, int]:
        """Where valid and test begin among `size` characters or documents."""
        return int(size * (1 - self.valid - self.test)), int(size * (1 - self.test))


def read_corpus(path: str, shares: Shares, documents: str) -> dict[str, Text]:
    """The splits "train", "valid" and, where there is one, "test".

    Args:
        path: a folder, a file or a name of TensorFlow Datasets; what exists comes first
        shares: cut a single file; of a name, what it has no splits for
        documents: "none": a split is one stream. "lines": every line that is not blank is a
            document, and the chunks of a split are whole lines

    Raises UserError in one line, here or while a split is iterated over.
    """
    if documents not in DOCUMENTS:
        raise UserError(
            f"config.data.documents must be one of {', '.join(DOCUMENTS)}, not {documents!r}"
        )
    place = local_path(path)
    try:
        if path and place.is_dir():
            splits = _folder(place, documents == "lines")
        elif path and place.exists():
            splits = _file(place, shares, documents == "lines")
        elif is_facts(path):
            splits = read_facts(path)
        elif path in NAMED:
            splits = read_named(path, shares.valid, documents == "lines")
        else:
            raise UserError(_unknown(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for name, text in splits.items():
        if not any(chunk.strip() for chunk in text):
            raise UserError(f"{text.place}: the split {name} is empty; it needs some text")
    return splits


def _folder(folder, documents):
    found = {}
    for file in sorted(folder.iterdir()):
        match = SPLIT_FILE.fullmatch(file.name)
        if match and file.is_file():
            found.setdefault(match[1], []).append(file)
    for split in SPLITS:
        files = found.get(split, [])
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise UserError(
                f"{folder}: several files for the split {split}: {names}; leave one of them"
            )
        if not files and split != "test":
            raise UserError(
                f"{folder}: there is no file for the split {split}; a folder must hold "
                f"{LAYOUT}; a single file is passed by its own path"
            )
    return {
        split: Text(str(found[split][0]), partial(file_chunks, found[split][0], documents))
        for split in SPLITS
        if split in found
    }


def _file(file, shares, documents):
    whole = Text(str(file), partial(file_chunks, file, documents))
    if not any(chunk.strip() for chunk in whole):
        raise UserError(f"{file} is empty; a corpus needs some text")
    size = sum(len(documents_of(chunk)) if documents else len(chunk) for chunk in whole)
    valid, test = shares.cuts(size)
    part = document_range if documents else character_range
    ranges = {"train": (0, valid), "valid": (valid, test), "test": (test, size)}
    if not shares.test:
        del ranges["test"]
    return {
        split: Text(str(file), partial(part, whole, *ends)) for split, ends in ranges.items()
    }


def _unknown(path):
    place = local_path(path)
    try:
        near = [str(place.with_name(file.name)) for file in place.parent.iterdir()]
    except (OSError, ValueError):
        near = []
    close = difflib.get_close_matches(path, [*NAMED, FACTS, *near], n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return (
        f"config.data.path={path!r}: there is no such file, folder or data set{hint} Pass a "
        f"file, a folder with {LAYOUT}, or one of {', '.join((*NAMED, FACTS))}"
    )
