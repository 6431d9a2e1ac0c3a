"""Checksums of a checkpoint's files: are they those that were written?

Array storage silently restores flipped bits, so every checkpoint carries a manifest of
its own, written when all its other files are on disk.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mocanet_jax.runtime.storage.files import flush_tree, read_json, regular, write_json

NAME = "manifest.json"
LAYOUT = 5
"""Of what a checkpoint holds; raised when older ones can no longer be read."""


def seal(folder: Path) -> None:
    """Writes the manifest of every file below `folder`, when all of them are on disk."""
    flush_tree(folder)
    files = {
        path.relative_to(folder).as_posix(): _fingerprint(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }
    write_json(folder / NAME, {"layout": LAYOUT, "files": files})


def damage(folder: Path, names: Iterable[str] | None = None) -> str | None:
    """What is wrong with a sealed folder, in a few words; None where nothing is.

    names: of files to look at, as the manifest has them; None for all.
    """
    try:
        manifest = read_json(folder / NAME)
        layout, files = manifest["layout"], dict(manifest["files"])
    except FileNotFoundError:
        return f"it has no {NAME}: half-written, or of an older version"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{NAME} cannot be read"
    if layout != LAYOUT:
        return f"its layout is {layout}, and this version reads {LAYOUT}"
    for name in files if names is None else names:
        try:
            if _fingerprint(folder / name) != files.get(name):
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as error:
            return f"{name} cannot be read: {error}"
    return None


def _fingerprint(path: Path) -> dict:
    with regular(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}
