"""Files of text in the forms in which they are kept and passed on.

sentence<TAB>label          GLUE: quotes are part of the text
index<TAB>sentence          GLUE's test sentences
sentence,label              CSV, and tables with tabs whose header is in quotes: a field in
                            quotes may hold separators and line ends, and "" for a quote
"""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mocanet_jax.runtime.errors import UserError

SENTENCE, LABEL = "sentence", "label"

OTHERS = frozenset(
    ("", "idx", "index", "id", "guid", "split", "source", "score", "sentiment", "length")
)
"""Further columns that files of commas have beside sentences; the first is that of an index."""

MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks and their encodings."""

FORMS = (
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"PK\x03\x04", "a zip archive, as spreadsheets are, too"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF file"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet or a document"),
    (b"SQLite format 3", "a database of SQLite"),
    (b"\x80\x04\x95", "a pickle of Python"),
    (b"\x80\x05\x95", "a pickle of Python"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)
"""First bytes of common files that are not text."""


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Within it OSError and ValueError of reading a file become a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        comma = ", " if str(error).startswith("line") else ": "
        raise UserError(f"{path}{comma}{error}") from error


def encoding_of(start: bytes) -> str:
    """The encoding of a text with these first bytes. Raises ValueError for other files."""
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding
    for mark, form in FORMS:
        if start.startswith(mark):
            raise ValueError(f"it is {form}; pass a file of plain text in UTF-8")
    even, odd = start[:64:2], start[1:64:2]
    if len(start) > 3 and (not any(even) or not any(odd)):
        raise ValueError("it looks like UTF-16 without a byte order mark; save it as UTF-8")
    return "utf-8-sig"


def decoded(content: bytes, errors: str = "strict") -> str:
    """A text with line ends "\\n". Raises ValueError that names the form of other files."""
    encoding = encoding_of(content[:64])
    try:
        text = content.decode(encoding, errors)
    except UnicodeDecodeError as error:
        place = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        raise ValueError(f"not {name} at byte {place}; save it as UTF-8") from error
    return with_line_ends(text)


def with_line_ends(text: str) -> str:
    """With "\n" for those of Windows and of old Macs."""
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


class Table(NamedTuple):
    """names: of the columns. rows: number of the line, from 1 on, and fields."""

    names: list[str]
    rows: Iterator[tuple[int, list[str]]]


def table(text: str) -> Table | None:
    """Reads a text whose first line names a column `sentence`; None for any other, as for prose
    with that word between commas. Iterating over the rows raises ValueError where quotes are
    wrong."""
    header = text.partition("\n")[0]
    for separator in ("\t", ","):
        names = [_bare(name).strip().lower() for name in header.split(separator)]
        if SENTENCE in names and (separator == "\t" or _names_columns(header, names)):
            quoted = separator == "," or header.startswith('"')
            return Table(
                names, islice(quoted_rows(text, separator), 1, None) if quoted else _plain(text)
            )
    return None


def _names_columns(header, names):
    """Whether a line with commas is a header: of known names, or with a label and no space."""
    known = {SENTENCE, LABEL} | OTHERS
    return len(names) > 1 and (
        known.issuperset(names) or (LABEL in names and " " not in header)
    )


def _plain(text):
    lines = text.rstrip("\n").split("\n")
    for number, line in enumerate(lines[1:], start=2):
        yield number, [unquoted(field) for field in line.split("\t")]


def is_row(fields: list[str]) -> bool:
    """Whether a row is not blank."""
    return any(field.strip() for field in fields)


def quoted_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of every row that is not blank, the header among them. Raises
    ValueError where quotes are wrong."""
    lines = io.StringIO(text, newline="")
    rows = csv.reader(
        lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"
    )
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    first = 1
    try:
        for fields in rows:
            if is_row(fields):
                yield first, fields
            first = rows.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"line {first}: {error}; inside of quotes a quote is written twice"
        ) from error
    finally:
        csv.field_size_limit(limit)


def unquoted(field):
    """A field that a writer of CSV has put into quotes, since it holds some. Other quotes are
    part of the text."""
    inner = _bare(field)
    doubled = '""' in inner and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if inner != field and doubled else field


def _bare(field):
    quoted = len(field) > 1 and field[0] == field[-1] == '"'
    return field[1:-1] if quoted else field
