"""Training from a config and a working directory."""

import math
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import jax
import numpy as np
import psutil
from ml_collections import ConfigDict

from mocanet_jax.nn.parameters import Declarations, declarations_of
from mocanet_jax.nn.summary import component_costs
from mocanet_jax.runtime.errors import Stopped, UserError
from mocanet_jax.runtime.lock import locked
from mocanet_jax.runtime.metrics_log import Recorder, Unrecorded
from mocanet_jax.runtime.processes import (
    leads,
    received_by_any,
    said_by_any,
    wait_for_all,
)
from mocanet_jax.runtime.sharding import build_layout, check_batch
from mocanet_jax.runtime.signals import StopRequest
from mocanet_jax.train.build import build_evaluator, build_model, build_task
from mocanet_jax.train.checkpoint import (
    NEVER_BEST,
    Checkpoints,
    Progress,
    inspected,
    selection_loss,
)
from mocanet_jax.train.monitor import Monitor, Silent
from mocanet_jax.train.optimizer import build_optimizer, learning_rate_schedule
from mocanet_jax.train.result import Evaluated, Evaluator, Result, final_result
from mocanet_jax.train.settings import budget_target, check_settings, plain
from mocanet_jax.train.state import initial_params
from mocanet_jax.train.trainer import FINITE_TERMS, Trainer
from mocanet_jax.train.workdir import check_workdir, claim_workdir, make_workdir

SILENT = Silent()

SOLVED = 0.99
"""Accuracy of validation, over the range of training, from which on a task counts as solved."""


def seconds_since_process_start() -> float:
    return time.time() - psutil.Process().create_time()


def train(config: ConfigDict, workdir: Path, monitor: Monitor = SILENT) -> Result:
    """Trains, or goes on with, the run in `workdir`, evaluates its best checkpoint, and writes
    result.json.

    A run goes on with another budget, or other limits of steps or minutes, when the config
    names them.

    Raises UserError, before anything is written, for a config that cannot be built, files
    that cannot be used, a directory of another config or one that another process trains in;
    and where training diverges or cannot save. Raises Stopped where a signal ended it.
    """
    trainer, evaluator, declarations = prepared(config, workdir)
    task, model, layout = evaluator.task, evaluator.model, evaluator.layout
    split = declarations.split_axis
    like = layout.abstract(jax.eval_shape(trainer.initial_state), split)
    placed = layout.shardings(like, split)
    if not inspected(workdir).sound:
        task.read()
        initial = layout.jit(trainer.initial_state, out_shardings=placed)
        state = initial(np.uint32(config.seed))
        state = state.with_params(task.initialise(state.params))
        state = jax.device_put(state, placed)
    wait_for_all("the directory was looked at")
    if leads():
        make_workdir(workdir)
    alone = locked(workdir) if leads() else nullcontext()
    with alone, Checkpoints(workdir) as checkpoints:
        if leads():
            claim_workdir(workdir, plain(config))
            task.save(workdir)
        for line in checkpoints.set_aside:
            monitor.note(f"{workdir}: {line}")
        latest = checkpoints.latest_step()
        if latest is None:
            progress = Progress(plain(config), {}, 0.0, 0.0, 0.0, False)
        else:
            state = checkpoints.restore(latest, like)
            progress = _continued(checkpoints.progress(latest), config, latest)
            verb = "already finished" if progress.finished else "resuming"
            monitor.note(f"{workdir}: {verb} at step {latest}")
        if not progress.finished:
            monitor.costs(component_costs(model, state.params))
            run = layout.jit(
                trainer.steps,
                donate_argnums=0,
                out_shardings=(placed, layout.replicated, layout.replicated),
            )
            progress = _run(workdir, monitor, checkpoints, evaluator, run, state, progress)
        step, last = checkpoints.best_step(), checkpoints.latest_step()
        best = checkpoints.progress(step)
        trained = checkpoints.restore_trained(step, like.trained)
    of = Evaluated(step, best, last, progress)
    return final_result(workdir, "result.json", evaluator, trained, of)


class Prepared(NamedTuple):
    trainer: Trainer
    evaluator: Evaluator
    declarations: Declarations


def prepared(config: ConfigDict, workdir: Path) -> Prepared:
    """What a run needs. Reads `workdir`, which need not exist, and writes nothing.

    Raises UserError for a config or a directory that cannot be used.
    """
    check_settings(config)
    check_workdir(workdir, plain(config))
    layout = build_layout(config)
    check_batch(layout, config.train)
    task = build_task(config, workdir)
    model = build_model(config, task)
    declarations = declarations_of(initial_params, model, task)
    optimizer = build_optimizer(config.train, declarations)
    evaluator = build_evaluator(model, task, config, layout)
    return Prepared(Trainer(model, task, optimizer, config), evaluator, declarations)


def _continued(progress: Progress, config: ConfigDict, step: int) -> Progress:
    """The progress of a run that goes on with this config; one that was changed is finished
    only where no step is left."""
    now = plain(config)
    if progress.config == now:
        return progress
    return progress._replace(config=now, finished=step >= config.train.max_steps)


class _Clock:
    """Adds up a run's time and tokens, in windows of steps between logs."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self._earlier = progress.wall_seconds
        self._made = time.monotonic()

    @property
    def minutes(self) -> float:
        """Since this clock was made, and those of earlier parts of the run from their process
        start on."""
        return (self._earlier + time.monotonic() - self._made) / 60

    def restart(self) -> None:
        """Starts a window; what came before it is not training time."""
        self._started = time.monotonic()

    def close_window(self, tokens: float) -> float:
        """Books the window's time and tokens; returns its tokens per second."""
        seconds = time.monotonic() - self._started
        self.progress = self.progress._replace(
            train_seconds=self.progress.train_seconds + seconds,
            tokens=self.progress.tokens + tokens,
        )
        return tokens / seconds

    def note_solved(self, step: int) -> None:
        """Keeps the first step that it is told, and the training time until now."""
        if self.progress.solved_step is None:
            self.progress = self.progress._replace(
                solved_step=step, solved_seconds=self.progress.train_seconds
            )

    def book(self, validation: dict, finished: bool) -> Progress:
        """The progress as a checkpoint of this moment keeps it."""
        self.progress = self.progress._replace(
            validation=validation,
            finished=finished,
            wall_seconds=self._earlier + seconds_since_process_start(),
        )
        return self.progress


def _run(workdir, monitor, checkpoints, evaluator, run, state, progress) -> Progress:
    """The loop over steps; returns the progress at its end."""
    task, training = evaluator.task, evaluator.config.train
    clock = _Clock(progress)
    task.read()  # a run that goes on has not yet
    step = start = int(state.step)
    seed = np.uint32(evaluator.config.seed)
    schedule = learning_rate_schedule(training)
    choose = partial(task.select, training.batch_size, count=training.log_every)
    data = jax.device_put(task.training_data, evaluator.layout.replicated)
    compiled = run.lower(state, np.int32(0), seed, data, choose(step)).compile()
    monitor.note(f"compiled after {seconds_since_process_start():.1f} s")
    with (
        StopRequest() as stop,
        Recorder(workdir, start) if leads() else nullcontext(Unrecorded()) as recorder,
        monitor.training(start, training.max_steps),
    ):
        while not progress.finished:
            if received := received_by_any(stop.received):
                _save_and_stop(received, workdir, checkpoints, state, clock)
            clock.restart()
            taken = _steps_to_next_event(step, training)
            state, metrics, faults = compiled(state, np.int32(taken), seed, data, choose(step))
            step += taken
            means = {name: float(value) for name, value in jax.device_get(metrics).items()}
            means["skipped"] = _check_faults(
                jax.device_get(faults), state, training, checkpoints
            )
            means["tokens_per_second"] = clock.close_window(means["tokens"] * taken)
            means["learning_rate"] = float(schedule(step - 1))
            _check_finite(means, step)
            recorder.write(step, "train", means)
            monitor.update(step, means)

            last = step == training.max_steps or _out_of_time(clock, training)
            if last or step % training.eval_every == 0:
                validation = evaluator.validate(state.trained)
                _check_finite(validation, step)
                recorder.write(step, "eval", validation)
                monitor.validated(step, evaluator.describe(validation))
                if validation["accuracy"] >= SOLVED:
                    clock.note_solved(step)
                loss = validation[evaluator.chosen_by]
                target = budget_target(evaluator.config)
                target = 1.0 if target is None else target
                thrifty = validation["usage"] <= target
                finished = last or (loss <= training.stop_at_loss and thrifty)
                loss = selection_loss(loss, validation["usage"], target)
                progress = clock.book(validation, finished)
                if finished or step % training.save_every == 0:
                    checkpoints.save(state, progress, loss)
    return progress


def _out_of_time(clock: _Clock, training: ConfigDict) -> bool:
    """Whether a process has used up config.train.max_minutes."""
    limit = training.max_minutes
    return limit > 0 and said_by_any(clock.minutes >= limit)


def _save_and_stop(received, workdir, checkpoints, state, clock) -> NoReturn:
    """Keeps a step that is not kept yet; unvalidated, so that it is never the best."""
    step, latest = int(state.step), checkpoints.latest_step()
    if step and step != latest:
        checkpoints.save(state, clock.book({}, False), NEVER_BEST)
    where = f"saved at step {step} in {workdir}" if step else "nothing was trained yet"
    raise Stopped(received, f"{received.name}: {where}; the same command goes on from there")


def _check_faults(faults, state, training, checkpoints) -> int:
    """How many steps were not finite. Raises UserError where the config does not allow it."""
    in_a_row = int(state.skipped)
    skips = training.on_nonfinite == "skip" and in_a_row < training.nonfinite_patience
    if not faults.count or skips:
        return int(faults.count)
    terms = ", ".join(name for name in FINITE_TERMS if faults.terms[name])
    latest = checkpoints.latest_step()
    kept = (
        "no checkpoint is there" if latest is None else f"the last checkpoint is step {latest}"
    )
    more = f", the last {in_a_row} in a row" if training.on_nonfinite == "skip" else ""
    raise UserError(
        f"training diverged: {terms} not finite at step {faults.first}{more}; {kept}. Try a "
        "smaller config.train.learning_rate, with another --workdir"
    )


def _check_finite(metrics: dict[str, float], step: int) -> None:
    """Raises UserError for metrics of a training that diverged."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise UserError(
                f"training diverged: {name} is {value} at step {step}; try a smaller "
                "config.train.learning_rate, with another --workdir"
            )


def _steps_to_next_event(step: int, training: ConfigDict) -> int:
    """Steps until the next log, validation or end; saving falls on a validation."""
    intervals = (training.log_every, training.eval_every)
    upcoming = [(step // every + 1) * every for every in intervals]
    return min(*upcoming, training.max_steps) - step
