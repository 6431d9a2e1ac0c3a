"""Training from a config and a working directory."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.nn.parameters import Declarations, shapes_and_declarations
from mocanet_jax.nn.summary import component_costs
from mocanet_jax.runtime.backend import check_precision
from mocanet_jax.runtime.background import Background
from mocanet_jax.runtime.processes import barrier, is_main_process
from mocanet_jax.runtime.sharding import build_layout, check_batch
from mocanet_jax.runtime.storage.lock import locked
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.train.build import build_evaluator, build_model, build_task
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.checkpoints.inspection import inspected
from mocanet_jax.train.checkpoints.record import Progress
from mocanet_jax.train.checkpoints.workdir import (
    PROLONGING,
    changed_data,
    check_workdir,
    claim_workdir,
    differing_fields,
    make_workdir,
)
from mocanet_jax.train.clock import Clock
from mocanet_jax.train.config.settings import check_settings, plain
from mocanet_jax.train.memory import check_memory
from mocanet_jax.train.monitor import Monitor, Silent
from mocanet_jax.train.optimizer import build_optimizer
from mocanet_jax.train.result import EvaluatedCheckpoint, Evaluator, Result, final_result
from mocanet_jax.train.run import Run
from mocanet_jax.train.state import TrainState, initial_params
from mocanet_jax.train.trainer import Trainer
from mocanet_jax.train.transfer import started_from

SILENT = Silent()


def train(config: ConfigDict, workdir: Path, monitor: Monitor = SILENT) -> Result:
    """Trains, or goes on with, the run in `workdir`, evaluates its best checkpoint, and writes
    result.json.

    A run goes on with another budget, or other limits of steps or minutes, when the config
    names them.

    Raises UserError, before anything is written, for a config that cannot be built, files
    that cannot be used, a directory of another config or one that another process trains in;
    and where training diverges or cannot save. Raises Stopped where a signal ended it.
    """
    ready = prepared(config, workdir)
    evaluator, like = ready.evaluator, ready.abstract_state()
    check_memory(config, evaluator.task, like, evaluator.layout.mesh.size)
    steps, fresh, origin = None, None, []
    if not inspected(workdir).sound:
        ready.read_data()
        steps = Background(partial(ready.compiled_steps, like))  # while the rest is prepared
        fresh, origin = ready.first_state(like)
    barrier("the directory was looked at")
    if is_main_process():
        make_workdir(workdir)
    alone = locked(workdir) if is_main_process() else nullcontext()
    with alone, Checkpoints(workdir) as checkpoints:
        if is_main_process():
            claim_workdir(workdir, plain(config))
            evaluator.task.save(workdir)
        monitor.note(f"{workdir}: {_described(config)}")
        for line in (*origin, *checkpoints.set_aside):
            monitor.note(f"{workdir}: {line}")
        state, kept_task = fresh, {}
        progress = Progress(plain(config), {}, 0.0, 0.0, 0.0, False)
        if (latest := checkpoints.latest_step()) is not None:
            state = checkpoints.restore(latest, like)
            kept = checkpoints.record(latest)
            progress, kept_task = _continued(kept.progress, config, latest), kept.task
            verb = "already finished" if progress.finished else "resuming"
            monitor.note(f"{workdir}: {verb} at step {latest}")
        if not progress.finished:
            checkpoints.task = evaluator.task.record()
            accepts = config.train.on_changed_data == "accept"
            changes = changed_data(kept_task, checkpoints.task, accepts)
            for line in changes:
                monitor.note(f"{workdir}: {line}")
            for line in checkpoints.task.get("remarks", ()):
                monitor.note(line)
            if changes:
                state = ready.trainer.with_new_streams(state)
            monitor.costs(component_costs(evaluator.model, state.params))
            clock = Clock(progress)
            run = Run(workdir, monitor, checkpoints, evaluator, ready.trainer, clock)
            steps = steps or Background(partial(ready.compiled_steps, like))
            progress = run.advance(steps, state)
        step, last = checkpoints.best_step(), checkpoints.latest_step()
        best = checkpoints.progress(step)
        trained = checkpoints.restore_trained(step, like.trained)
    of = EvaluatedCheckpoint(step, best, last, progress)
    return final_result(workdir, "result.json", evaluator, trained, of)


class Prepared(NamedTuple):
    """What a run needs before its directory is touched. shapes: shapes and dtypes of the
    parameters."""

    trainer: Trainer
    evaluator: Evaluator
    shapes: dict
    declarations: Declarations

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the train state."""
        state = jax.eval_shape(self.trainer.state_with, self.shapes)
        return self.evaluator.layout.abstract(state, self.declarations.split_axis)

    def _placed(self, like):
        return self.evaluator.layout.shardings(like, self.declarations.split_axis)

    def read_data(self) -> None:
        """Reads every file of the task, before anything is written. Raises UserError where it
        cannot."""
        self.trainer.task.record()
        self.trainer.task.batches.select(self.trainer.config.train.batch_size, 0, 1)

    def first_state(self, like: TrainState) -> tuple[TrainState, list[str]]:
        """Before the first step, and where its parameters are from, where that is another run.
        Raises UserError where they cannot be read."""
        trainer, placed = self.trainer, self._placed(like)
        initial = self.evaluator.layout.jit(trainer.initial_state, out_shardings=placed)
        state = initial(np.uint32(trainer.config.seed))
        params, lines = trainer.task.initialise(state.params), []
        if source := trainer.config.train.init_from:
            params, lines = started_from(local_path(source), trainer.task, params)
        return jax.device_put(state.with_params(params), placed), lines

    def steps(self, like: TrainState):
        """`Trainer.steps`, jitted; it gives the memory of its state away."""
        layout = self.evaluator.layout
        return layout.jit(
            self.trainer.steps,
            donate_argnums=0,
            out_shardings=(self._placed(like), layout.replicated, layout.replicated),
        )

    def compiled_steps(self, like: TrainState) -> jax.stages.Compiled:
        """`steps`, compiled for the data of the task and windows of `log_every` steps."""
        config, batches = self.trainer.config, self.trainer.task.batches
        shapes = jax.eval_shape(lambda data: data, batches.data)
        data = self.evaluator.layout.abstract(shapes, lambda names, ndim: None)
        chosen = batches.select(config.train.batch_size, 0, config.train.log_every)
        seed = np.uint32(config.seed)
        return self.steps(like).lower(like, np.int32(0), seed, data, chosen).compile()


def prepared(config: ConfigDict, workdir: Path) -> Prepared:
    """What a run needs. Reads `workdir`, which need not exist, and writes nothing.

    Raises UserError for a config or a directory that cannot be used.
    """
    check_precision()
    check_settings(config)
    check_workdir(workdir, plain(config))
    layout = build_layout(config)
    check_batch(layout, config.train)
    task = build_task(config, workdir)
    model = build_model(config, task)
    shapes, declarations = shapes_and_declarations(initial_params, model, task)
    optimizer = build_optimizer(config.train, declarations)
    evaluator = build_evaluator(model, task, config, layout)
    trainer = Trainer(model, task, optimizer, config)
    return Prepared(trainer, evaluator, shapes, declarations)


def _continued(progress: Progress, config: ConfigDict, step: int) -> Progress:
    """The progress of a run that goes on with this config. One whose budget, limits or data
    changed is finished only where no step is left and the last one is validated; other changes
    do not train it further."""
    now = plain(config)
    if progress.config == now:
        return progress
    changed = {line.split(" ")[0] for line in differing_fields(progress.config, now)}
    finished = progress.finished and changed.isdisjoint(PROLONGING)
    done = bool(progress.validation) and step >= config.train.max_steps
    return progress._replace(config=now, finished=finished or done)


def _described(config: ConfigDict) -> str:
    """What runs, and on what."""
    count, kind = jax.device_count(), jax.devices()[0].device_kind
    devices = f"{count} devices of kind {kind}" if count > 1 else kind
    return f"task {config.task}, model {config.model.name}, seed {config.seed}, on {devices}"
