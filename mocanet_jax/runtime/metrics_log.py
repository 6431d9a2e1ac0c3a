"""What a run leaves behind: metrics.jsonl, TensorBoard events, and how they are read."""

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.files import replace_text


def read_metrics(workdir: Path) -> list[dict]:
    """Rows of metrics.jsonl; a last line cut short by a killed process is left out."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Unrecorded:
    """Stands in for Recorder in a process that leaves no record."""

    def write(self, step: int, group: str, metrics: dict[str, float]) -> None:
        """Nothing."""


class Recorder:
    """Appends metrics of training and validation to metrics.jsonl and TensorBoard.

    from_step: rows after this step are dropped first, since a resumed run writes them again.
    Raises UserError where the files cannot be written.
    """

    def __init__(self, workdir: Path, from_step: int):
        rows = [row for row in read_metrics(workdir) if row["step"] <= from_step]
        self._path = workdir / "metrics.jsonl"
        try:
            replace_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
            self._file = self._path.open("a", encoding="utf-8")
            self._events = SummaryWriter(str(workdir), purge_step=from_step + 1)
        except OSError as error:
            raise UserError(f"cannot write into {workdir}: {error.strerror}") from error

    def write(self, step: int, group: str, metrics: dict[str, float]) -> None:
        row = {f"{group}/{name}": value for name, value in metrics.items()}
        try:
            self._file.write(json.dumps({"step": step, **row}) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error
        for name, value in row.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()
        self._events.close()
