"""Files and directories that are whole or not there.

What is written here is flushed to disk before it takes its place, so that a machine that loses
power keeps the old or the new, never a file of zeros.
"""

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_json(path: Path, value: dict) -> None:
    """Raises ValueError for NaN and infinities. Lone surrogates, as of a path that is not
    UTF-8, are written as JSON escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _replace(path, text.encode("utf-8", "backslashreplace"))


def replace_text(path: Path, text: str) -> None:
    """Replaces the file in one move, so that a reader never sees half of it."""
    _replace(path, text.encode())


def _replace(path, content):
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    flush(path.parent)


def regular(path: Path) -> Path:
    """The path, to be opened for reading: of a pipe or a device, which may never end and cannot
    be read twice, it raises OSError; as where there is nothing."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a directory cannot be opened
        return path
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_json(path: Path):
    """What write_json wrote. Raises OSError or ValueError for what is not such a file."""
    try:
        return json.loads(regular(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def flush(path: Path) -> None:
    """Returns when a file, or the names in a directory, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """`flush` of everything below a directory, and of itself."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory to fill, which takes its place at `path` in one move when all went well.

    path: new, or an empty directory; missing parents are made. Raises OSError where it cannot
    be written, or holds something by then. Whatever goes wrong, `path` stays as it was.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        flush_tree(temporary)
        os.rename(temporary, path)
        flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
