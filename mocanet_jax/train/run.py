"""The loop over steps: what happens on the host between dispatches."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.runtime.background import Background
from mocanet_jax.runtime.errors import Stopped, UserError
from mocanet_jax.runtime.memory import check
from mocanet_jax.runtime.processes import any_process, any_signal, is_main_process
from mocanet_jax.runtime.signals import StopRequest
from mocanet_jax.runtime.storage.metrics_log import Recorder, Unrecorded
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.checkpoints.record import Progress
from mocanet_jax.train.checkpoints.selection import Standing
from mocanet_jax.train.clock import Clock, seconds_since_process_start
from mocanet_jax.train.config.settings import budget_target
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.monitor import Monitor
from mocanet_jax.train.optimizer import learning_rate_schedule
from mocanet_jax.train.result import Evaluator
from mocanet_jax.train.state import TrainState
from mocanet_jax.train.trainer import FINITE_TERMS, Trainer

SOLVED = 0.99
"""Accuracy of validation, over the range of training, from which on a task counts as solved."""


@dataclass(frozen=True)
class Run:
    """A run in `workdir`, whose checkpoints and clock are open."""

    workdir: Path
    monitor: Monitor
    checkpoints: Checkpoints
    evaluator: Evaluator
    trainer: Trainer
    clock: Clock

    @cached_property
    def training(self) -> ConfigDict:
        return self.trainer.config.train

    def advance(self, steps: Background[jax.stages.Compiled], state: TrainState) -> Progress:
        """Trains from `state` on to the end; returns the progress there. A step that was saved
        when its validation was due is validated first.

        steps: `Trainer.steps`, compiled or about to be. Raises UserError where training
        diverges or cannot save, and Stopped where a signal ends it.
        """
        training, clock = self.training, self.clock
        step = start = int(state.step)
        seed = np.uint32(self.trainer.config.seed)
        schedule = learning_rate_schedule(training)
        batches = self.trainer.task.batches
        choose = partial(batches.select, training.batch_size, count=training.log_every)
        data = jax.device_put(batches.data, self.evaluator.layout.replicated)
        self.monitor.note("compiling ...")
        import_module("mocanet_jax.runtime.storage.events")  # slow, and needed by Recorder
        compiled = steps.result()
        if needs := compiled.memory_analysis():
            check(needs.temp_size_in_bytes, "a training step")
        self.monitor.note(f"compiled after {seconds_since_process_start():.1f} s")
        missing = self._validation_is_missing(start)
        record = (
            Recorder(self.workdir, start, missing)
            if is_main_process()
            else nullcontext(Unrecorded())
        )
        watched = self.monitor.training(start, training.max_steps)
        with StopRequest() as stop, record as recorder, watched:
            if missing:
                self._validate(state, recorder, self._is_last(step))
            while not clock.progress.finished:
                if received := any_signal(stop.received):
                    self._save_and_stop(received, state)
                clock.restart()
                before = _on_host(state.curriculum)
                taken = _steps_to_next_event(step, training)
                state, metrics, faults = compiled(
                    state, np.int32(taken), seed, data, choose(step)
                )
                step += taken
                means = {name: float(value) for name, value in jax.device_get(metrics).items()}
                means["skipped"] = self._check_faults(jax.device_get(faults), state)
                means["tokens_per_second"] = clock.close_window(means["tokens"] * taken)
                means["learning_rate"] = float(schedule(step - 1))
                means["minutes"] = clock.wall_minutes
                _check_finite(means, step)
                recorder.write(step, "train", means)
                self.monitor.update(step, means)
                after = _on_host(state.curriculum)
                self._note(step, self.trainer.curriculum.news(before, after))
                last = self._is_last(step)
                if last or step % training.eval_every == 0:
                    if self.checkpoints.empty:  # the first validation may run out of memory
                        self.checkpoints.save(state, clock.book({}, False))
                    self._validate(state, recorder, last)
        self._note(step, self.trainer.curriculum.verdict(_on_host(state.curriculum)))
        return clock.progress

    def _note(self, step: int, line: str | None) -> None:
        if line is not None:
            self.monitor.note(f"step {step}: {line}")

    def _validation_is_missing(self, step: int) -> bool:
        """Whether a run goes on from a step that was saved just before its validation."""
        due = step % self.training.eval_every == 0 or step >= self.training.max_steps
        return step > 0 and due and not self.checkpoints.is_validated(step)

    def _validate(self, state: TrainState, recorder: Recorder, last: bool) -> None:
        """Validates, records and reports it, and saves where a checkpoint is due."""
        step, evaluator, training = int(state.step), self.evaluator, self.training
        validation = evaluator.validate(state.trained)
        _check_finite(validation, step)
        recorder.write(step, "eval", validation | {"minutes": self.clock.wall_minutes})
        self.monitor.validated(step, evaluator.describe(validation))
        if validation["accuracy"] >= SOLVED:
            self.clock.note_solved(step)
        loss = validation[evaluator.chosen_by]
        reached = Standing(loss, validation["usage"], budget_target(evaluator.config))
        solved = loss <= training.stop_at_loss and reached.within_budget
        finished = last or solved
        if finished:
            self._note(step, self._reason(step, loss, solved))
        progress = self.clock.book(validation, finished)
        if finished or step % training.save_every == 0:
            self.checkpoints.save(state, progress, loss)

    def _reason(self, step: int, loss: float, solved: bool) -> str:
        """Why training ends here."""
        limits = self.training
        if solved:
            why = f"validation loss {loss:.4g} is within config.train.stop_at_loss"
            return f"stopped, {why}={limits.stop_at_loss:g}"
        if step >= limits.max_steps:
            return "stopped, all of config.train.max_steps are done"
        return f"stopped, config.train.max_minutes={limits.max_minutes:g} are over"

    def _is_last(self, step: int) -> bool:
        """Whether all steps are done, or a process has used up config.train.max_minutes."""
        limit = self.training.max_minutes
        if step >= self.training.max_steps:
            return True
        return limit > 0 and any_process(self.clock.minutes >= limit)

    def _save_and_stop(self, received, state: TrainState) -> NoReturn:
        """Keeps a step that is not kept yet; unvalidated, so that it is never the best."""
        step, latest = int(state.step), self.checkpoints.latest_step()
        if step and step != latest:
            self.checkpoints.save(state, self.clock.book({}, False))
        where = f"saved at step {step} in {self.workdir}" if step else "nothing was trained yet"
        raise Stopped(
            received, f"{received.name}: {where}; the same command goes on from there"
        )

    def _check_faults(self, faults, state: TrainState) -> int:
        """How many steps were not finite. Raises UserError where the config does not allow
        it."""
        in_a_row, skipping = int(state.skipped), self.training.on_nonfinite == "skip"
        if not faults.count or (skipping and in_a_row < self.training.nonfinite_patience):
            return int(faults.count)
        terms = ", ".join(name for name in FINITE_TERMS if faults.terms[name])
        latest = self.checkpoints.latest_step()
        kept = "no checkpoint is there"
        if latest is not None:
            kept = f"the last checkpoint is step {latest}"
        more = f", the last {in_a_row} in a row" if skipping else ""
        raise UserError(
            f"training diverged: {terms} not finite at step {faults.first}{more}; {kept}. Try "
            "a smaller config.train.learning_rate, with another --workdir"
        )


def _on_host(state: CurriculumState) -> CurriculumState:
    """Python numbers, which outlive the arrays."""
    return CurriculumState(*(part.item() for part in state))


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
