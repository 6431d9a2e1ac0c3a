"""What a checkpoint knows besides arrays: a JSON file beside them, under the same manifest.

Files beside the checkpoints (config.json, vocabulary.json) are copies for people to read; what
a later process needs is read from here.
"""

import os
from pathlib import Path
from typing import NamedTuple

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.runtime.storage.files import read_json, write_json
from mocanet_jax.train.config.completion import completed

NAME = "record.json"

MODEL = "model.json"
"""The same of a packed model (packed.py), in its folder."""

LAYOUT = 1
"""Of packed models."""


class Progress(NamedTuple):
    """How far a run is.

    config: the config in plain containers (settings.plain). validation: metrics at this step;
    empty of one that was saved between validations.
    wall_seconds, train_seconds: spent up to here, over all runs of the command, from
    process start and in the training loop alone. tokens: unmasked tokens trained on.
    finished: nothing is left to train.
    solved_step, solved_seconds: the step of the first validation that was good enough to count
    as solved, and train_seconds then; None before.
    """

    config: dict
    validation: dict
    wall_seconds: float
    train_seconds: float
    tokens: float
    finished: bool
    solved_step: int | None = None
    solved_seconds: float | None = None


class Record(NamedTuple):
    """loss: of validation, by which the best is chosen, in nats; None of a step that was not
    validated. task: what the task needs again (Task.record), values of JSON."""

    progress: Progress
    loss: float | None
    task: dict


def as_fields(record: Record) -> dict:
    """As values of JSON."""
    progress = record.progress._asdict()
    progress["config"] = _tagged(record.progress.config)
    return {"progress": progress, "loss": record.loss, "task": record.task}


def of_fields(fields: dict) -> Record:
    """Of what `as_fields` returned; fields of the config that an earlier version did not have
    are at their defaults. Raises KeyError or TypeError for anything else."""
    progress = Progress(**fields["progress"])
    config = completed(_untagged(fields["progress"]["config"]))
    progress = progress._replace(config=config)
    return Record(progress, fields["loss"], fields["task"])


def is_packed(folder: Path) -> bool:
    return (folder / MODEL).is_file()


def write_record(folder: Path, record: Record) -> None:
    """Raises OSError, and ValueError for what is no JSON."""
    write_json(folder / NAME, as_fields(record))


def read_record(folder: Path) -> Record:
    """Of a checkpoint that is sound. Raises OSError where it has gone."""
    return of_fields(read_json(folder / NAME))


def read_packed(folder: Path) -> tuple[dict, Record]:
    """Of a packed model: fields with its step and the sha256 of its parameters, and its record.
    Raises UserError for a file that is damaged, or of another layout."""
    try:
        fields = read_json(folder / MODEL)
        if fields["layout"] != LAYOUT:
            raise UserError(
                f"{folder} holds a model of layout {fields['layout']}; this version reads "
                f"{LAYOUT}"
            )
        return fields, of_fields(fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / MODEL} cannot be read, or is damaged") from error


def checkpoint_folders(workdir: Path) -> dict[int, Path]:
    """The folders of all checkpoints by their steps, oldest first, sound or not."""
    try:
        names = os.listdir(workdir / "checkpoints")
    except OSError:
        return {}
    steps = sorted(int(name) for name in names if name.isdecimal() and name.isascii())
    return {step: workdir / "checkpoints" / str(step) for step in steps}


def latest_record(workdir: Path) -> Record | None:
    """Of the newest checkpoint whose record is what was written, whatever became of its
    arrays; None where there is none. Of a packed model its own; raises UserError where that is
    damaged, or of another layout."""
    if is_packed(workdir):
        return read_packed(workdir)[1]
    for folder in reversed(checkpoint_folders(workdir).values()):
        if manifest.damage(folder, [NAME]) is None:
            try:
                return read_record(folder)
            except OSError:  # deleted by a training run at this moment
                continue
    return None


TUPLE = "tuple"


def _tagged(value):
    """JSON has no tuples; a config has, and distinguishes them from lists."""
    if isinstance(value, dict):
        return {name: _tagged(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_tagged(inner) for inner in value]}
    return [_tagged(inner) for inner in value] if isinstance(value, list) else value


def _untagged(value):
    if isinstance(value, dict):
        if value.keys() == {TUPLE}:
            return tuple(_untagged(inner) for inner in value[TUPLE])
        return {name: _untagged(inner) for name, inner in value.items()}
    return [_untagged(inner) for inner in value] if isinstance(value, list) else value
