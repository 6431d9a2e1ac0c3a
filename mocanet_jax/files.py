"""Files that are whole or not there."""

import json
import os
from pathlib import Path


def write_json(path: Path, value: dict) -> None:
    """Replaces the file in one move, so that a reader never sees half of it."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(
        json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(temporary, path)
