"""The files of a labelled corpus of one's own, and the texts and label names in them.

DIR     train.csv, and where there are any valid.csv and test.csv; also .tsv and .jsonl, also
        compressed, as train.csv.gz
FILE    all of them to train on
"""

import json
import math
import re
from pathlib import Path
from typing import NamedTuple

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.text import columns
from mocanet_jax.tasks.text.records import read_records
from mocanet_jax.tasks.text.tables import errors_of
from mocanet_jax.tasks.text.tokenizer import tokenize

SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("valid", "validation", "dev", "val"), "valid"
)
"""Splits by the names that their files have."""

ENDING = r"\.(?:tsv|csv|jsonl|ndjson)(?:\.gz|\.xz)?"

SPLIT_FILE = re.compile(rf"(?:.+[._-])?({'|'.join(SPLITS)}){ENDING}", re.IGNORECASE)
"""train.csv, reviews_dev.jsonl, news.test.tsv.gz."""

RECORDS = re.compile(rf".*{ENDING}", re.IGNORECASE)
"""Names of files of records."""

LAYOUT = (
    "train.csv and, if wanted, valid.csv and test.csv, each also .tsv or .jsonl, and also .gz "
    "or .xz"
)

LISTED = 8
"""Files or lines in a message."""


class Form(NamedTuple):
    """How files are read. text_column, label_column: names, empty to look for those of
    training and for usual ones. encoding: empty for UTF-8, or what a byte order mark says.
    trained: the names of both in training, where they are known."""

    text_column: str
    label_column: str
    encoding: str
    trained: tuple[str, str] | None = None

    def wanted(self) -> columns.Wanted:
        return columns.Wanted(self.text_column, self.label_column, self.trained)


class Rows(NamedTuple):
    """Of one file, without texts that have no word.

    place: its path, or what stands for it in messages. columns: the names of the two that were
    read. lines: where each row begins.
    texts: as they were written. tokens: the same tokenised. labels: their names. empty: lines
    of texts without a word.
    """

    place: Path | str
    columns: tuple[str, str]
    lines: list[int]
    texts: list[str]
    tokens: list[list[str]]
    labels: list[str]
    empty: list[int]


def split_files(path: str) -> dict[str, Path]:
    """The files of "train" and, where there are any, "valid" and "test". Raises UserError."""
    if not path:
        raise UserError(
            f"no data given; pass --config.data.path=DIR, a folder with {LAYOUT}, or a file"
        )
    place = local_path(path)
    if not place.is_dir():
        return {"train": place}
    try:
        names = sorted(file.name for file in place.iterdir() if file.is_file())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    found: dict[str, list[str]] = {}
    for name in names:
        if match := SPLIT_FILE.fullmatch(name):
            found.setdefault(SPLITS[match[1].lower()], []).append(name)
    for split, files in found.items():
        if len(files) > 1:
            raise UserError(
                f"{path}: several files for the split {split}: {', '.join(files)}; leave one "
                "of them"
            )
    if "train" not in found:
        more = ", ..." if len(names) > LISTED else ""
        held = f"it holds {', '.join(names[:LISTED])}{more}" if names else "it holds no file"
        raise UserError(
            f"{path}: there is no file to train on; a folder holds {LAYOUT} ({held}); a single "
            "file is passed by its own path"
        )
    return {split: place / files[0] for split, files in found.items()}


def read_rows(file: Path, form: Form) -> Rows:
    """Raises UserError in one line that names the file and, where it can, the line."""
    records = read_records(file, form.encoding)
    with errors_of(file):
        at = columns.found(records.names, form.wanted())
        chosen = records.names[at.text], records.names[at.label]
        rows = Rows(file, chosen, [], [], [], [], [])
        for line, fields in records.rows:
            text = _text(line, fields[at.text], chosen[0])
            label = _label(line, fields[at.label], chosen[1])
            words = tokenize(text)
            if not words:
                rows.empty.append(line)
                continue
            for part, value in zip(rows[2:6], (line, text, words, label), strict=True):
                part.append(value)
        if not rows.lines:
            raise ValueError("there is no text in it")
    return rows


def read_texts(file: Path, form: Form) -> list[str]:
    """The texts of a file alone, those without a word too. Raises UserError."""
    records = read_records(file, form.encoding)
    with errors_of(file):
        at = columns.text_column(records.names, form.wanted())
        return [_text(line, fields[at], records.names[at]) for line, fields in records.rows]


def _text(line, value, column):
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"line {line}: {column} is not a text: {json.dumps(value)[:40]}")
    return value


def _label(line, value, column):
    """The name of a label; of numbers and truth values of JSON as JSON writes them."""
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"line {line}: {column} is not one label: {json.dumps(value)[:40]}")
    name = " ".join((value or "").split())
    if not name:
        raise ValueError(f"line {line}: the label in the column {column} is empty")
    return name


def ordered(names: set[str]) -> tuple[str, ...]:
    """Names of labels: by their numbers where all are numbers, else by their characters."""
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return tuple(sorted(names))
    if not all(map(math.isfinite, numbers.values())):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (numbers[name], name)))
