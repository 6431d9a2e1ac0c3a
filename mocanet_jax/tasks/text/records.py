"""Files of records with named columns: what their bytes are, and their rows.

text,label                     a delimiter is a comma, a semicolon, a tab or a bar; a field in
"too ""slow"" for me",bad      quotes may hold delimiters and line ends, and "" for a quote
{"text": "dull", "label": 0}   JSON Lines: an object a line

Each also compressed by gzip or xz, which the first bytes tell, whatever the file's name.
"""

import contextlib
import csv
import gzip
import json
import lzma
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import regular
from mocanet_jax.tasks.text import tables

DELIMITERS = ("\t", ",", ";", "|")
"""The first of those that give the header the most columns is used."""

COMPRESSED = ((b"\x1f\x8b", gzip), (b"\xfd7zXZ", lzma))
"""First bytes of compressed files, and the module that reads them."""

LONGEST_HEADER = 100_000
"""Characters that are looked at for a delimiter."""

SHOWN = 60
"""Characters of a file's content in a message."""


class Records(NamedTuple):
    """names: of the columns, as they are written. rows: the number of the line that each begins
    in, from 1 on, and its fields, one a column; strings, and of JSON Lines any value of JSON,
    None for a missing one."""

    names: list[str]
    rows: list[tuple[int, list[Any]]]


def read_records(path: Path, encoding: str = "") -> Records:
    """encoding: as Python names it; empty for UTF-8, or what a byte order mark says.

    Raises UserError in one line that names the file and, where it can, the line.
    """
    with tables.errors_of(path):
        text = _decoded(_content(path), encoding)
        if not text.strip():
            raise ValueError("the file is empty")
        if text.lstrip().startswith("{"):
            return _of_json(text)
        if text.lstrip().startswith("[") and ".json" in path.name.lower():
            raise ValueError("a list of JSON is not read; write one object a line (JSON Lines)")
        return _delimited(text)


def _content(path):
    content = regular(path).read_bytes()
    for mark, module in COMPRESSED:
        if content.startswith(mark):
            try:
                return module.decompress(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(f"it is damaged or cut off: {error}") from error
    return content


def _decoded(content, encoding):
    """Text with line ends "\\n" and without a byte order mark."""
    name = encoding or tables.encoding_of(content[:64])
    try:
        text = content.decode(name)
    except LookupError as error:
        raise UserError(
            f"config.data.encoding={encoding!r}: Python knows no such encoding; it knows "
            "utf-8, latin-1, cp1252, utf-16 and many more"
        ) from error
    except UnicodeError as error:
        place = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        shown = "UTF-8" if name == "utf-8-sig" else name
        raise ValueError(
            f"not {shown}{place}; pass its encoding, as --config.data.encoding=latin-1, or "
            "cp1252 for Western European text of Windows, or save it as UTF-8"
        ) from error
    return tables.with_line_ends(text.removeprefix("\ufeff"))


def _of_json(text):
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: not JSON: {line[:SHOWN]!r}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number}: not a JSON object: {line[:SHOWN]!r}")
        found.append((number, record))
    names = list(dict.fromkeys(name for _, record in found for name in record))
    return Records(names, [(n, [record.get(name) for name in names]) for n, record in found])


def _delimited(text):
    header = text.partition("\n")[0][:LONGEST_HEADER]
    names_by = {mark: next(csv.reader([header], delimiter=mark), []) for mark in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda mark: len(names_by[mark]))
    if delimiter == "\t" and not header.startswith('"'):
        return _of_tabs(text, [name.strip() for name in header.split("\t")])
    rows = list(tables.quoted_rows(text, delimiter))
    names = [name.strip() for name in rows[0][1]]
    return Records(names, [(n, _fitted(n, row, names, delimiter)) for n, row in rows[1:]])


def _of_tabs(text, names):
    """Where every line has a field for each column, quotes are part of the text, as in GLUE's
    files; elsewhere they hold together what is between them."""
    lines = [(n, line.split("\t")) for n, line in enumerate(text.split("\n"), start=1)]
    lines = [
        (n, [*map(tables.unquoted, fields)]) for n, fields in lines[1:] if tables.is_row(fields)
    ]
    if any(len(fields) != len(names) for _, fields in lines):
        with contextlib.suppress(ValueError):  # without quotes of CSV: the line is named below
            quoted = list(tables.quoted_rows(text, "\t"))[1:]
            if all(len(fields) == len(names) for _, fields in quoted):
                lines = quoted
    return Records(names, [(n, _fitted(n, row, names, "\t")) for n, row in lines])


def _fitted(number, fields, names, delimiter):
    """As many fields as there are columns; empty ones behind may be too many."""
    if tables.is_row(fields[len(names) :]) or len(fields) < len(names):
        mark = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[delimiter]
        raise ValueError(
            f"line {number}: {len(fields)} columns, and the header has {len(names)} "
            f"({', '.join(names)[:SHOWN]}); a text with {mark} in it needs quotes around it"
        )
    return fields[: len(names)]
