"""A trained model, from its working directory."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mocanet_jax.tasks.task import Task
from mocanet_jax.training.build import rebuild
from mocanet_jax.training.checkpoint import saved_run
from mocanet_jax.training.step import Model, initial_params


class Restored(NamedTuple):
    """config: what the run was trained with. validation: metrics at `step`."""

    step: int
    config: ConfigDict
    validation: dict[str, float]
    task: Task
    model: Model
    params: dict


def restored(workdir: Path, step: int | None = None) -> Restored:
    """The checkpoint of `step`, or the best. Leaves the directory as it is.

    Raises UserError where there is none, or it is damaged or of another version.
    """
    with saved_run(workdir) as checkpoints:
        step = checkpoints.best_step() if step is None else step
        progress = checkpoints.progress(step)
        config = ConfigDict(progress.config)
        task, model = rebuild(config, workdir)
        like = jax.eval_shape(partial(initial_params, model, task))
        params = checkpoints.restore_params(step, like)
    return Restored(step, config, progress.validation, task, model, params)
