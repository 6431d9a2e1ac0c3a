"""Files that are whole or not there."""

import json
import os
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
