"""A trained model, from its working directory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mocanet_jax.nn.models.protocol import Model, Trained
from mocanet_jax.nn.parameters import recorded
from mocanet_jax.runtime.backend import check_precision
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.sharding import Layout, one_device
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.build import build_model, task_again
from mocanet_jax.train.checkpoints.checkpoint import saved_run
from mocanet_jax.train.checkpoints.inspection import is_deleted
from mocanet_jax.train.checkpoints.record import Progress, is_packed
from mocanet_jax.train.state import initial_trained

ATTEMPTS = 5


class Restored(NamedTuple):
    """config: what the run was trained with, as changed. progress: that of `step`.
    layout: of its arrays."""

    step: int
    config: ConfigDict
    task: Task
    model: Model
    trained: Trained
    progress: Progress
    layout: Layout


def restored(
    workdir: Path,
    step: int | None = None,
    change: Callable[[ConfigDict], None] = lambda config: None,
    arrange: Callable[[ConfigDict], Layout] = lambda config: one_device(),
) -> Restored:
    """The checkpoint of `step`, or the best. Leaves the directory as it is. Where a training
    run deletes the best meanwhile, it is the best of what is there then.

    change: edits the config before task and model are built from it. arrange: says where the
    parameters of such a model go.
    Raises UserError where there is none, or it is damaged or of another version.
    """
    check_precision()
    for _ in range(ATTEMPTS):
        with saved_run(workdir) as checkpoints:
            chosen = checkpoints.best_step() if step is None else step
            try:
                return _read(checkpoints, chosen, workdir, change, arrange)
            except (UserError, OSError):
                kept = is_packed(workdir) or not is_deleted(workdir, chosen)
                if step is not None or kept:
                    raise
    raise UserError(
        f"{workdir}: a training run deleted {ATTEMPTS} checkpoints while they were read; try "
        "again"
    )


def _read(checkpoints, step, workdir, change, arrange) -> Restored:
    record = checkpoints.record(step)
    progress = record.progress
    config = ConfigDict(progress.config)
    try:
        change(config)
        task = task_again(config, record.task)
        model = build_model(config, task)
    except (AttributeError, KeyError) as error:
        reason = str(error).splitlines()[0].strip("\"'")
        raise UserError(f"{workdir} was trained by another version: {reason}") from error
    layout = arrange(config)
    with recorded() as declarations:
        shapes = jax.eval_shape(partial(initial_trained, model, task))
    like = layout.abstract(shapes, declarations.split_axis)
    trained = checkpoints.restore_trained(step, like)
    return Restored(step, config, task, model, trained, progress, layout)
