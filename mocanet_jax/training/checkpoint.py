"""Checkpoints by Orbax: the latest and the best are kept."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mocanet_jax.errors import UserError
from mocanet_jax.files import read_json
from mocanet_jax.training.step import TrainState

OVER_BUDGET = 1000.0
"""Nats of loss that a checkpoint is worse by, per unit of usage above the target."""


def selection_loss(loss: float, usage: float, target: float) -> float:
    """What the best checkpoint is lowest in: the loss, and any usage above the target, which
    counts more."""
    return loss + OVER_BUDGET * max(usage - target, 0.0)


class Progress(NamedTuple):
    """What a checkpoint knows besides arrays.

    config: the config as plain JSON values. validation: metrics at this step.
    wall_seconds, train_seconds: spent up to here, over all runs of the command, from
    process start and in the training loop alone. tokens: unmasked tokens trained on.
    finished: nothing is left to train.
    """

    config: dict
    validation: dict
    wall_seconds: float
    train_seconds: float
    tokens: float
    finished: bool


class Checkpoints:
    """The checkpoints of one working directory.

    read_only: leaves the directory as it is, also what a training run beside it is writing.
    """

    def __init__(self, workdir: Path, read_only: bool = False):
        lowest_loss = checkpoint_managers.BestN(get_metric_fn=lambda m: -m["loss"], n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [checkpoint_managers.LatestN(n=1), lowest_loss]
            ),
            best_fn=lambda metrics: -metrics["loss"],
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self._directory = workdir / "checkpoints"
        self._manager = ocp.CheckpointManager(self._directory.absolute(), options=options)

    def save(self, state: TrainState, progress: Progress, loss: float) -> None:
        """Starts writing in the background; `close` waits for it.

        loss: of `selection_loss`; the lowest makes a checkpoint the best.
        """
        step = int(state.step)
        saved = self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.evaluated),
                training=ocp.args.StandardSave(_without_params(state)),
                progress=ocp.args.JsonSave(progress._asdict()),
            ),
            metrics={"loss": loss},
        )
        if not saved:
            raise RuntimeError(f"Orbax refused to save step {step} in {self._directory}")

    def steps(self) -> list[int]:
        """Every step that is kept, oldest first."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of lowest `selection_loss`, the newest of equals, among those trained with
        the latest config: what an earlier budget allowed is no measure of a new one."""
        steps = self.steps()
        configs = {step: self.progress(step).config for step in steps}
        rivals = [step for step in steps if configs[step] == configs[steps[-1]]]
        loss = lambda step: (self._manager.metrics(step)["loss"], -step)
        return min(rivals, key=loss, default=None)

    def progress(self, step: int) -> Progress:
        return Progress(**self._restore(step, progress=ocp.args.JsonRestore())["progress"])

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`; `like` gives shapes, dtypes and shardings."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self._restore(
            step,
            params=ocp.args.StandardRestore(abstract.evaluated),
            training=ocp.args.StandardRestore(_without_params(abstract)),
        )
        return _joined(restored["params"], restored["training"])

    def restore_params(self, step: int, like: dict) -> dict:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(step, params=ocp.args.StandardRestore(abstract))["params"]

    def _restore(self, step, **items):
        """Raises UserError where files are missing, damaged or hold other arrays."""
        try:
            with _patient_event_loops():
                return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax raises the bare class for arrays it cannot read
            cause = error.__cause__ or error
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            reason = reason.partition(". ")[0]  # what follows is advice to programmers
            raise UserError(
                f"checkpoint {step} in {self._directory} is damaged or of another version of "
                f"the model: {reason}"
            ) from error

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
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
    if checkpoints.latest_step() is None:
        checkpoints.close()
        raise UserError(f"no checkpoint in {workdir}/checkpoints yet: train first")
    return checkpoints


@contextmanager
def _patient_event_loops() -> Iterator[None]:
    """Event loops that are made meanwhile let their tasks end before they close.

    Orbax closes its loop at the first array that it cannot read; every other array that is
    still being read would then print a traceback of its own.
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


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run saved something in `workdir`, which need not exist."""
    return any(path.name.isdigit() for path in (workdir / "checkpoints").glob("*"))


def _without_params(state: TrainState) -> dict:
    """What the item of evaluated parameters does not hold."""
    held = "params" if state.average is None else "average"
    return {name: part for name, part in state._asdict().items() if name != held}


def _joined(evaluated: dict, rest: dict) -> TrainState:
    return TrainState(**rest, **{"average" if "params" in rest else "params": evaluated})


def differing_fields(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Names of fields that differ between two nested configs, with both values."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differing_fields(before, after, f"{prefix}{name}.")
        elif before != after:
            lines.append(f"{prefix}{name} ({before} there, {after} now)")
    return lines


def read_config(workdir: Path) -> dict | None:
    """The config that a working directory was trained with, None for a fresh one."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        return read_json(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); use another --workdir") from error
