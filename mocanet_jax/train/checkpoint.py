"""Checkpoints by Orbax: the latest and the best are kept, and none is used that is damaged."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.runtime import manifest
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.files import replace_text
from mocanet_jax.runtime.processes import leads, wait_for_all
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.state import TrainState
from mocanet_jax.train.workdir import read_config

OVER_BUDGET = 1000.0
"""Nats of loss that a checkpoint is worse by, per unit of usage above the target."""


def selection_loss(loss: float, usage: float, target: float) -> float:
    """What the best checkpoint is lowest in: the loss, and any usage above the target, which
    counts more."""
    return loss + OVER_BUDGET * max(usage - target, 0.0)


NEVER_BEST = 1e30
"""Selection loss of a checkpoint that only keeps what would be lost."""


class Progress(NamedTuple):
    """What a checkpoint knows besides arrays.

    config: the config as plain JSON values. validation: metrics at this step; empty of one
    that was saved between validations.
    wall_seconds, train_seconds: spent up to here, over all runs of the command, from
    process start and in the training loop alone. tokens: unmasked tokens trained on.
    finished: nothing is left to train.
    solved_step, solved_seconds: the step of the first validation that was good enough to count
    as solved, and train_seconds then; None before, and in older checkpoints.
    """

    config: dict
    validation: dict
    wall_seconds: float
    train_seconds: float
    tokens: float
    finished: bool
    solved_step: int | None = None
    solved_seconds: float | None = None


class Kept(NamedTuple):
    """sound: steps whose files are those that were written, oldest first. unusable: what is
    wrong with each other step."""

    sound: list[int]
    unusable: dict[int, str]


def inspected(workdir: Path) -> Kept:
    """The checkpoints of a directory, which need not exist.

    Raises UserError where there are some and none can be used. One that a killed process was
    just writing is no loss: what came before it is still there, or nothing was.
    """
    steps = [int(path.name) for path in _directory(workdir).glob("*") if path.name.isdigit()]
    problems = {step: _problem(workdir, step) for step in sorted(steps)}
    sound = [step for step, problem in problems.items() if problem is None]
    unusable = {step: problem for step, problem in problems.items() if problem is not None}
    lost = {step: problem for step, problem in unusable.items() if problem != HALF_WRITTEN}
    if lost and not sound:
        reasons = "; ".join(f"{step}: {problem}" for step, problem in lost.items())
        raise UserError(
            f"no checkpoint in {_directory(workdir)} can be used ({reasons}); train anew with "
            "another --workdir"
        )
    return Kept(sound, unusable)


HALF_WRITTEN = "half-written"


def _problem(workdir, step):
    """Why a step cannot be used, or None."""
    folder = _directory(workdir) / str(step)
    try:
        interrupted = (workdir / SAVING).read_text(encoding="utf-8") == str(step)
    except (OSError, ValueError):
        interrupted = False
    if interrupted and not (folder / manifest.NAME).exists():
        return HALF_WRITTEN
    return manifest.damage(folder)


def _directory(workdir):
    return workdir / "checkpoints"


SAVING = "saving"
"""File that names the step that is being saved; there only meanwhile."""


class Checkpoints:
    """The checkpoints of one working directory.

    read_only: leaves the directory as it is, also what a training run beside it is writing.
    set_aside: a line on each step that cannot be used; without read_only it was moved to the
        folder `damaged`.
    Raises UserError as `inspected` does.
    """

    def __init__(self, workdir: Path, read_only: bool = False):
        self._workdir = workdir
        unusable, moves = inspected(workdir).unusable, leads() and not read_only
        wait_for_all("checkpoints were looked at")
        self.set_aside = [
            f"checkpoint {step} cannot be used: {problem}"
            + (f"; moved to {_moved_aside(workdir, step)}" if moves else "")
            for step, problem in unusable.items()
        ]
        wait_for_all("checkpoints are in order")
        lowest_loss = checkpoint_managers.BestN(get_metric_fn=lambda m: -m["loss"], n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [checkpoint_managers.LatestN(n=1), lowest_loss]
            ),
            best_fn=lambda metrics: -metrics["loss"],
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self._directory = _directory(workdir)
        self._manager = ocp.CheckpointManager(self._directory.absolute(), options=options)

    def save(self, state: TrainState, progress: Progress, loss: float) -> None:
        """Returns when all is on disk. To be called by every process; each writes its part.

        loss: of `selection_loss`; the lowest makes a checkpoint the best.
        Raises UserError where it cannot be written; what was there before stays.
        """
        step = int(state.step)
        try:
            if leads():
                replace_text(self._workdir / SAVING, str(step))
            items = ocp.args.Composite(
                trained=ocp.args.StandardSave(state.trained._asdict()),
                training=ocp.args.StandardSave(_without_trained(state)),
                progress=ocp.args.JsonSave(progress._asdict()),
            )
            with _patient_event_loops():
                saved = self._manager.save(step, args=items, metrics={"loss": loss})
                self._manager.wait_until_finished()
            if not saved:
                raise RuntimeError(f"Orbax refused to save step {step} in {self._directory}")
            if leads():
                manifest.seal(self._directory / str(step))
                (self._workdir / SAVING).unlink()
            wait_for_all("the checkpoint is sealed")
        except (OSError, ValueError) as error:
            steps = inspected(self._workdir).sound
            last = f"step {steps[-1]} is the last that is there" if steps else "none is there"
            reason = getattr(error, "strerror", None) or _system_error(error)
            raise UserError(
                f"cannot save step {step} in {self._directory}: {reason}; {last}"
            ) from error

    def steps(self) -> list[int]:
        """Every step that is kept and sound, oldest first."""
        return inspected(self._workdir).sound

    def latest_step(self) -> int | None:
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """The step of lowest `selection_loss`, the newest of equals, among those trained with
        the latest config: what an earlier budget allowed is no measure of a new one. None
        where none was validated."""
        found = {step: self.progress(step) for step in self.steps()}
        validated = [step for step, progress in found.items() if progress.validation]
        rivals = [
            step for step in validated if found[step].config == found[validated[-1]].config
        ]
        loss = lambda step: (self._manager.metrics(step)["loss"], -step)
        return min(rivals, key=loss, default=None)

    def progress(self, step: int) -> Progress:
        return Progress(**self._restore(step, progress=ocp.args.JsonRestore())["progress"])

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`; `like` gives shapes, dtypes and shardings."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self._restore(
            step,
            trained=ocp.args.StandardRestore(abstract.trained._asdict()),
            training=ocp.args.StandardRestore(_without_trained(abstract)),
        )
        return _joined(Trained(**restored["trained"]), restored["training"])

    def restore_trained(self, step: int, like: Trained) -> Trained:
        """What evaluation uses; `like` as of `restore`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        return Trained(
            **self._restore(step, trained=ocp.args.StandardRestore(abstract))["trained"]
        )

    def _restore(self, step, **items):
        """Raises UserError where files are missing, damaged or hold other arrays."""
        if problem := _problem(self._workdir, step):
            raise UserError(f"checkpoint {step} in {self._directory}: {problem}")
        try:
            with _patient_event_loops():
                return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax raises the bare class for arrays it cannot read
            raise UserError(
                f"checkpoint {step} in {self._directory} is of another version of the model: "
                f"{_first_line(error.__cause__ or error)}"
            ) from error

    def close(self) -> None:
        self._manager.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def saved_run(workdir: Path) -> Checkpoints:
    """The checkpoints of a directory that has some. Raises UserError for any other."""
    if read_config(workdir) is None or not (workdir / "checkpoints").is_dir():
        raise UserError(f"no trained model in {workdir}: train first, or pass its --workdir")
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


def _moved_aside(workdir, step) -> Path:
    """Moves a step to `damaged`, beside what was moved there before; returns its new place."""
    folder = workdir / "damaged"
    folder.mkdir(exist_ok=True)
    target, number = folder / str(step), 1
    while target.exists():
        number += 1
        target = folder / f"{step}_{number}"
    os.replace(_directory(workdir) / str(step), target)
    return target


def _system_error(error) -> str:
    """What the operating system said, where an error of the array storage quotes its code."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else _first_line(error)


def _first_line(error) -> str:
    """What an error of Orbax says, without its advice to programmers."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition(". ")[0]


@contextmanager
def _patient_event_loops() -> Iterator[None]:
    """Event loops that are made meanwhile let their tasks end before they close.

    Orbax closes its loop at the first array that it cannot read or write; every other array
    that is still on its way would then print a traceback of its own.
    """
    make = asyncio.new_event_loop
    asyncio.new_event_loop = _PatientEventLoop
    try:
        yield
    finally:
        asyncio.new_event_loop = make


class _PatientEventLoop(asyncio.SelectorEventLoop):
    def close(self):
        if not self.is_closed() and (tasks := asyncio.all_tasks(self)):
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        super().close()


def _without_trained(state: TrainState) -> dict:
    """What the item of evaluated parameters and multiplier does not hold, in plain
    containers."""
    held = ("multiplier", "params" if state.average is None else "average")
    return {name: part for name, part in state._asdict().items() if name not in held}


def _joined(trained: Trained, rest: dict) -> TrainState:
    held = "average" if "params" in rest else "params"
    rest = rest | {"curriculum": CurriculumState(*rest["curriculum"])}
    return TrainState(**rest, **{held: trained.params}, multiplier=trained.multiplier)
