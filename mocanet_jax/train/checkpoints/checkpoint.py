"""Checkpoints by Orbax: the latest and the best are kept, and none is used that is damaged."""

import os
import re
import sys
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path

import jax

from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.event_loops import calling_orbax
from mocanet_jax.runtime.processes import barrier, is_main_process
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.runtime.storage.files import replace_text
from mocanet_jax.runtime.storage.plain_paths import plain_path
from mocanet_jax.train.checkpoints import inspection, selection
from mocanet_jax.train.checkpoints.inspection import DELETING, SAVING, inspected
from mocanet_jax.train.checkpoints.packed import PackedModel
from mocanet_jax.train.checkpoints.record import (
    Progress,
    Record,
    is_packed,
    read_record,
    write_record,
)
from mocanet_jax.train.checkpoints.selection import Standing
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.state import TrainState


class Checkpoints:
    """The checkpoints of one working directory.

    read_only: leaves the directory as it is, also what a training run beside it is writing.
    task: what the task needs again, values of JSON; kept with every checkpoint that is saved.
    set_aside: a line on each step that cannot be used; without read_only it was moved to the
        folder `damaged`.
    Raises UserError as `inspected` does.
    """

    def __init__(self, workdir: Path, read_only: bool = False):
        self._workdir, self.task = workdir, {}
        found, moves = inspected(workdir), is_main_process() and not read_only
        barrier("checkpoints were looked at")
        if moves:
            inspection.remove(workdir, found.deleted)
        self.set_aside = [
            f"checkpoint {step} cannot be used: {problem}"
            + (f"; moved to {inspection.moved_aside(workdir, step)}" if moves else "")
            for step, problem in found.unusable.items()
        ]
        barrier("checkpoints are in order")
        self._directory = workdir / "checkpoints"
        self._standings = self._read_standings(found.sound)
        if not read_only:
            self._directory.mkdir(parents=True, exist_ok=True)
        self._open = ExitStack()
        plain = self._open.enter_context(plain_path(self._directory))
        self._ocp = ocp = import_module("orbax.checkpoint")  # slow, and compilation runs beside
        with calling_orbax():
            options = ocp.CheckpointManagerOptions(
                cleanup_tmp_directories=not read_only, read_only=read_only
            )
            self._manager = ocp.CheckpointManager(plain, options=options)
        self._open.callback(self._manager.close)

    def save(self, state: TrainState, progress: Progress, loss: float | None = None) -> None:
        """Returns when all is on disk and steps that are no longer needed are deleted. To be
        called by every process; each writes its part.

        loss: of validation, by which the best is chosen; None of a step without one, which a
        later call with one replaces.
        Raises UserError where it cannot be written; what was there before stays, and nothing
        more can be saved.
        """
        step, record = int(state.step), Record(progress, loss, self.task)
        try:
            if step in self._standings and not self.is_validated(step):
                self._delete([step])
            if is_main_process():
                replace_text(self._workdir / SAVING, str(step))
            ocp = self._ocp
            items = ocp.args.Composite(
                trained=ocp.args.StandardSave(state.trained._asdict()),
                training=ocp.args.StandardSave(_without_trained(state)),
            )
            with calling_orbax():
                saved = self._manager.save(step, args=items)
                self._manager.wait_until_finished()
            if not saved:
                raise RuntimeError(f"Orbax refused to save step {step} in {self._directory}")
            if is_main_process():
                folder = self._directory / str(step)
                write_record(folder, record)
                manifest.seal(folder)
                (self._workdir / SAVING).unlink()
            barrier("the checkpoint is sealed")
            self._standings[step] = selection.standing(record)
            self._delete(selection.superfluous(self._standings))
        except (OSError, ValueError) as error:
            with suppress(Exception):  # of other arrays that were on their way
                self.close()
            steps = inspected(self._workdir).sound
            last = f"step {steps[-1]} is the last that is there" if steps else "none is there"
            reason = getattr(error, "strerror", None) or _system_error(error)
            raise UserError(
                f"cannot save step {step} in {self._directory}: {reason}; {last}"
            ) from error

    def _delete(self, steps):
        if steps and is_main_process():
            replace_text(self._workdir / DELETING, " ".join(map(str, steps)))
        for step in steps:
            with calling_orbax():
                self._manager.delete(step)
            del self._standings[step]
        if steps and is_main_process():
            inspection.remove(self._workdir, steps)

    def steps(self) -> list[int]:
        """Every step that is kept and sound, oldest first."""
        return inspected(self._workdir).sound

    def latest_step(self) -> int | None:
        return max(self.steps(), default=None)

    @property
    def empty(self) -> bool:
        """Whether no checkpoint was there at the start, and none was saved since."""
        return not self._standings

    def is_validated(self, step: int) -> bool:
        """Whether a step is kept, with its validation."""
        return self._standings.get(step) is not None

    def best_step(self) -> int | None:
        """The step to use (selection.best); None where none was validated."""
        return selection.best(self._read_standings(self.steps()))

    def _read_standings(self, sound: list[int]) -> dict[int, Standing | None]:
        standings = {}
        for step in sound:
            with suppress(FileNotFoundError):  # deleted by a training run at this moment
                standings[step] = selection.standing(read_record(self._directory / str(step)))
        return standings

    def record(self, step: int) -> Record:
        self._check(step)
        return read_record(self._directory / str(step))

    def progress(self, step: int) -> Progress:
        return self.record(step).progress

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`; `like` gives shapes, dtypes and shardings."""
        ocp = self._ocp
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self._restore(
            step,
            trained=ocp.args.StandardRestore(abstract.trained._asdict()),
            training=ocp.args.StandardRestore(_without_trained(abstract)),
        )
        return _joined(Trained(**restored["trained"]), restored["training"])

    def restore_trained(self, step: int, like: Trained) -> Trained:
        """What evaluation uses; `like` as of `restore`."""
        ocp = self._ocp
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        return Trained(
            **self._restore(step, trained=ocp.args.StandardRestore(abstract))["trained"]
        )

    def _restore(self, step, **items):
        """Raises UserError where files are missing, damaged or hold other arrays."""
        self._check(step)
        try:
            with calling_orbax():
                return self._manager.restore(step, args=self._ocp.args.Composite(**items))
        except Exception as error:  # Orbax raises the bare class for arrays it cannot read
            raise UserError(
                f"checkpoint {step} in {self._directory} is of another version of the model: "
                f"{_first_line(error.__cause__ or error)}"
            ) from error

    def _check(self, step):
        if not (self._directory / str(step)).is_dir():
            there = ", ".join(map(str, self.steps())) or "none"
            raise UserError(
                f"{self._directory} has no checkpoint of step {step}; there: {there}"
            )
        if problem := inspection.problem(self._workdir, step):
            raise UserError(f"checkpoint {step} in {self._directory}: {problem}")

    def close(self) -> None:
        with calling_orbax():
            self._open.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def saved_run(workdir: Path) -> Checkpoints | PackedModel:
    """The checkpoints of a directory that has some, or a packed model. Raises UserError for any
    other."""
    if is_packed(workdir):
        return PackedModel(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"no trained model in {workdir}: train first, or pass its --workdir")
    checkpoints = Checkpoints(workdir, read_only=True)
    if checkpoints.best_step() is None:  # or a training run has deleted what there was
        checkpoints.close()
        checkpoints = Checkpoints(workdir, read_only=True)
    if checkpoints.best_step() is None:
        steps = checkpoints.steps()
        checkpoints.close()
        found = (
            f"checkpoint {steps[-1]} was not validated" if steps else "no checkpoint is there"
        )
        raise UserError(f"{workdir}: {found} yet; train on, by the command that began the run")
    for line in checkpoints.set_aside:
        print(f"warning: {workdir}: {line}", file=sys.stderr)
    return checkpoints


def _system_error(error) -> str:
    """The message of the operating system, where an error of the array storage has its code."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else _first_line(error)


def _first_line(error) -> str:
    """What an error of Orbax says, without its advice to programmers."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition(". ")[0]


def _without_trained(state: TrainState) -> dict:
    """What the item of evaluated parameters and multiplier does not hold, in plain
    containers."""
    held = ("multiplier", "params" if state.average is None else "average")
    return {name: part for name, part in state._asdict().items() if name not in held}


def _joined(trained: Trained, rest: dict) -> TrainState:
    held = "average" if "params" in rest else "params"
    rest = rest | {"curriculum": CurriculumState(*rest["curriculum"])}
    return TrainState(**rest, **{held: trained.params}, multiplier=trained.multiplier)
