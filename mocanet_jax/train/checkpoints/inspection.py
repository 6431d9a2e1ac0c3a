"""Which checkpoints of a directory can be used."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.runtime.storage.files import regular
from mocanet_jax.train.checkpoints.record import checkpoint_folders

SAVING = "saving"
"""File that names the step that is being saved; there only meanwhile."""

DELETING = "deleting"
"""File that names the steps that are being deleted; there only meanwhile."""

HALF_WRITTEN = "half-written"


class Kept(NamedTuple):
    """sound: steps whose files are those that were written, oldest first. unusable: what is
    wrong with each other step. deleted: steps that are being deleted, or a killed process
    was deleting."""

    sound: list[int]
    unusable: dict[int, str]
    deleted: list[int]


def inspected(workdir: Path) -> Kept:
    """The checkpoints of a directory, which need not exist.

    Raises UserError where there are some and none can be used. One that a killed process was
    just writing is no loss: what came before it is still there, or nothing was.
    """
    folders = checkpoint_folders(workdir)
    problems = {step: problem(workdir, step) for step in folders}
    deleted = [step for step in folders if problems[step] and is_deleted(workdir, step)]
    sound = [step for step, found in problems.items() if found is None]
    unusable = {
        step: found
        for step, found in problems.items()
        if found is not None and step not in deleted
    }
    lost = {step: found for step, found in unusable.items() if found != HALF_WRITTEN}
    if lost and not sound:
        reasons = "; ".join(f"{step}: {found}" for step, found in lost.items())
        raise UserError(
            f"no checkpoint in {workdir / 'checkpoints'} can be used ({reasons}); train anew "
            "with another --workdir"
        )
    return Kept(sound, unusable, deleted)


def problem(workdir: Path, step: int) -> str | None:
    """Why a step cannot be used, or None."""
    folder = workdir / "checkpoints" / str(step)
    half = step in _named(workdir, SAVING) and not (folder / manifest.NAME).exists()
    return HALF_WRITTEN if half else manifest.damage(folder)


def is_deleted(workdir: Path, step: int) -> bool:
    """Whether a step is gone, or being deleted."""
    folder = workdir / "checkpoints" / str(step)
    return step in _named(workdir, DELETING) or not folder.exists()


def remove(workdir: Path, steps: list[int]) -> None:
    """What is left of deleted steps."""
    for step in steps:
        shutil.rmtree(workdir / "checkpoints" / str(step), ignore_errors=True)
    (workdir / DELETING).unlink(missing_ok=True)


def moved_aside(workdir: Path, step: int) -> Path:
    """Moves a step to `damaged`, beside what was moved there before; returns its new place."""
    folder = workdir / "damaged"
    folder.mkdir(exist_ok=True)
    target, number = folder / str(step), 1
    while target.exists():
        number += 1
        target = folder / f"{step}_{number}"
    os.replace(workdir / "checkpoints" / str(step), target)
    return target


def _named(workdir, name) -> set[int]:
    """The steps that a file names; none where it is not such a file."""
    try:
        text = regular(workdir / name).read_text(encoding="utf-8")
        return {int(word) for word in text.split()}
    except (OSError, ValueError):
        return set()
