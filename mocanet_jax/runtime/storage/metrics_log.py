"""What a run leaves behind: metrics.jsonl, TensorBoard events, and how they are read."""

import json
import os
from contextlib import nullcontext, suppress
from pathlib import Path

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import regular, replace_text


def read_metrics(workdir: Path) -> list[dict]:
    """Rows of metrics.jsonl, in order. Lines that are no rows are left out: one cut short by a
    killed process, bytes that a damaged disk returns.

    Raises UserError for a file that cannot be read.
    """
    path = workdir / "metrics.jsonl"
    try:
        lines = regular(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return [row for row in map(_row, lines) if row is not None]


def _row(line: bytes) -> dict | None:
    """A step and numbers by name; None for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    return row if all(type(value) in (int, float) for value in row.values()) else None


def _is_training(row):
    return any(name.startswith("train/") for name in row)


class Unrecorded:
    """Stands in for Recorder in a process that leaves no record."""

    def write(self, step: int, group: str, metrics: dict[str, float]) -> None:
        """Nothing."""


class Recorder:
    """Appends metrics of training and validation to metrics.jsonl and TensorBoard.

    from_step: rows after this step are dropped first, since a resumed run writes them again.
    validates: whether it also writes the validation of that step again.
    Raises UserError where the files cannot be written.
    """

    def __init__(self, workdir: Path, from_step: int, validates: bool = False):
        stays = lambda row: row["step"] < from_step + (not validates or _is_training(row))
        from mocanet_jax.runtime.storage.events import Events  # slow; readers do not need it

        rows = [row for row in read_metrics(workdir) if stays(row)]
        self._path = workdir / "metrics.jsonl"
        try:
            replace_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
            self._events = Events(workdir, from_step + 1)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write into {workdir}: {error.strerror}") from error

    def write(self, step: int, group: str, metrics: dict[str, float]) -> None:
        """A row. One of validation, by which a run is judged, is on disk when this returns."""
        row = {f"{group}/{name}": value for name, value in metrics.items()}
        try:
            self._file.write(json.dumps({"step": step, **row}) + "\n")
            self._file.flush()
            self._events.add(step, row)
            if group == "eval":
                os.fsync(self._file.fileno())
                self._events.flush()
        except OSError as error:
            raise UserError(
                f"cannot write metrics of step {step} into {self._path.parent}: "
                f"{error.strerror}; the same command goes on from the last checkpoint"
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        # After a write that failed, what it left in buffers fails again.
        with suppress(OSError) if kind else nullcontext():
            self._file.close()
        with suppress(OSError) if kind else nullcontext():
            self._events.close()
