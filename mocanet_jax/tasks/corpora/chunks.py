"""Text in chunks, so that a corpus need not fit into memory.

A chunk is a str of about CHUNK characters. It ends where a line or at least a word ends, so
that lines and words can be taken from each chunk alone; all of them, one after another, are the
text. A text is any iterable of chunks that can be iterated over more than once.
"""

import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import regular
from mocanet_jax.tasks.text.tables import encoding_of

CHUNK = 1 << 20
"""Characters of a chunk, more where no word ends; bytes that are read at a time."""

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ"
"""First bytes of compressed files."""


@dataclass(frozen=True)
class Text:
    """A text that is read again by every iteration.

    Attributes:
        place: of the text, for messages
        read: returns an iterator over its chunks
    """

    place: str
    read: Callable[[], Iterator[str]]

    def __iter__(self) -> Iterator[str]:
        return self.read()


def file_chunks(path: Path, documents: bool) -> Iterator[str]:
    """The chunks of a file of text, plain or compressed by gzip or xz; a byte order mark is
    skipped. documents: chunks end at line ends only.

    Raises UserError that names the file: it cannot be read, is not UTF-8 (with the number of
    the byte), or its compressed form is damaged.
    """
    try:
        with _opened(path) as file:
            yield from recut(_decoded(file), documents)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise UserError(
            f"{path}: the compressed file is truncated or damaged; fetch or compress it again"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {error.reason}; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _opened(path):
    with regular(path).open("rb") as file:
        start = file.read(len(XZ))
    if path.suffix == ".gz" or start.startswith(GZIP):
        return gzip.open(path, "rb")
    if path.suffix == ".xz" or start.startswith(XZ):
        return lzma.open(path, "rb")
    return path.open("rb")


def _decoded(file) -> Iterator[str]:
    """Raises UnicodeDecodeError whose reason is a message."""
    piece = file.read(CHUNK)
    encoding = encoding_of(piece[:64])
    decoder = codecs.getincrementaldecoder(encoding)()
    total = 0
    while True:
        total += len(piece)
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
            error.reason = f"not {name} at byte {total - len(error.object) + error.start}"
            raise
        if text:
            yield text
        if not piece:
            return
        piece = file.read(CHUNK)


def recut(pieces: Iterable[str], documents: bool) -> Iterator[str]:
    """Pieces of a text as chunks: each ends at the last line end in it, where there is none at
    the last white space; documents: at line ends only."""
    kept: list[str] = []
    for piece in pieces:
        end = 1 + piece.rfind("\n")
        if not end and not documents:
            end = _after_last_space(piece)
        if not end:
            kept.append(piece)
            continue
        yield "".join((*kept, piece[:end]))
        kept = [piece[end:]] if end < len(piece) else []
    if kept:
        yield "".join(kept)


def _after_last_space(piece):
    return next((i for i in range(len(piece), 0, -1) if piece[i - 1].isspace()), 0)


def documents_of(chunk: str) -> list[str]:
    """The lines of a chunk that are not blank, without line ends ("\\n" or "\\r\\n")."""
    lines = (line.removesuffix("\r") for line in chunk.split("\n"))
    return [line for line in lines if line and not line.isspace()]


def stripped(text: Text) -> Text:
    """Without white space at both ends of lines, of which each is whole in its chunk."""

    def read():
        for chunk in text:
            yield "\n".join(line.strip() for line in chunk.split("\n"))

    return Text(text.place, read)


def character_range(chunks: Iterable[str], start: int, stop: int) -> Iterator[str]:
    """The characters start … stop − 1 of a text."""
    place = 0
    for chunk in chunks:
        if place >= stop:
            return
        part = chunk[max(0, start - place) : stop - place]
        if part:
            yield part
        place += len(chunk)


def document_range(chunks: Iterable[str], start: int, stop: int) -> Iterator[str]:
    """The documents start … stop − 1 of a text, a line each."""
    place = 0
    for chunk in chunks:
        if place >= stop:
            return
        documents = documents_of(chunk)
        part = documents[max(0, start - place) : stop - place]
        if part:
            yield "\n".join(part) + "\n"
        place += len(documents)
