"""Directories under names that libraries understand.

Some take a path for a pattern ([…], *, ?), a URL (gs:) or another system's (a backslash), or
cannot take bytes that are not UTF-8; what they write is then lost. They get a symbolic link of
a plain name in the folder for temporary files instead.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mocanet_jax.runtime.errors import UserError

PLAIN = re.compile(r"[A-Za-z0-9_./ +=,@~-]*")


URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_path(name: str | Path) -> Path:
    """The path that a flag or a field names; file:///DIR is DIR.

    Raises UserError for a URL of another kind, which would become a local folder of that name.
    """
    if not URL.match(str(name)):
        return Path(name)
    parts = urlsplit(str(name))
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise UserError(
        f"{name}: only local directories and files can be used; mount it, or copy it from and "
        "to there"
    )


@contextmanager
def plain_path(directory: Path) -> Iterator[Path]:
    """An absolute path of `directory` in plain characters, within the context.

    directory: need not exist. Raises UserError where there is no such path.
    """
    directory = directory.absolute()
    if PLAIN.fullmatch(str(directory)):
        yield directory
        return
    try:
        folder = Path(tempfile.mkdtemp(prefix="mocanet_jax_"))
    except OSError as error:
        raise UserError(f"no folder for temporary files: {error.strerror}") from error
    try:
        if not PLAIN.fullmatch(str(folder)):
            raise UserError(
                f"{directory}: a path with such characters needs a folder for temporary files "
                f"without them, not {folder.parent}; set TMPDIR"
            )
        link = folder / "link"
        link.symlink_to(directory)
        yield link
    finally:
        shutil.rmtree(folder, ignore_errors=True)
