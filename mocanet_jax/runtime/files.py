"""Files and directories that are whole or not there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_json(path: Path, value: dict) -> None:
    """Raises ValueError for what is no JSON: NaN, infinities, text that is no Unicode."""
    replace_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Replaces the file in one move, so that a reader never sees half of it."""
    content = text.encode()
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def read_json(path: Path):
    """What write_json wrote. Raises OSError or ValueError for what is not such a file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
