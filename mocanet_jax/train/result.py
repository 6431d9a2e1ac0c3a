"""The outcome of a run: its final evaluation and what result.json or eval.json holds."""

from pathlib import Path
from typing import NamedTuple

from mocanet_jax.evaluate.language import LanguageEvaluator
from mocanet_jax.evaluate.reading import evaluated_slots
from mocanet_jax.evaluate.results import LanguageResults, SequenceResults, TextResults
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.nn.summary import component_costs, realised_flops, state_bytes, state_size
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.processes import is_main_process
from mocanet_jax.runtime.storage.files import write_json
from mocanet_jax.train.build import Evaluator
from mocanet_jax.train.checkpoints.record import Progress
from mocanet_jax.train.config.settings import budget_target

EVALUATION = "eval.json"
"""File of an evaluation after training."""


class EvaluatedCheckpoint(NamedTuple):
    """The evaluated checkpoint, and its run.

    step, best: the checkpoint's. trained_steps, progress: of the run as a whole.
    """

    step: int
    best: Progress
    trained_steps: int
    progress: Progress

    @property
    def within_budget(self) -> bool | None:
        """Of its validation; None where nothing is to be kept."""
        target = budget_target(self.best.config)
        return None if target is None else self.best.validation["usage"] <= target


class Result(NamedTuple):
    """What `train` and `evaluate` return.

    file: where `summary` is kept. summary: values of JSON. trained: of the evaluated
    checkpoint, in host memory. evaluator: with the run's model, task and config.
    """

    workdir: Path
    file: Path
    summary: dict
    results: SequenceResults | TextResults | LanguageResults
    trained: Trained
    evaluator: Evaluator


def final_result(
    workdir: Path,
    file_name: str,
    evaluator: Evaluator,
    trained: Trained,
    of: EvaluatedCheckpoint,
) -> Result:
    """Evaluates `trained`, in all processes, and writes `file_name`, in the first.

    Raises UserError for a model that diverged.
    """
    model, progress = evaluator.model, of.progress
    costs = component_costs(model, trained.params)
    of_text = isinstance(evaluator, LanguageEvaluator)
    slots = evaluated_slots(model, evaluator.config) if of_text else None
    results = evaluator.test(trained, of.best.validation)
    entries = results.entries()
    summary = {
        "task": evaluator.config.task,
        "evaluated_step": of.step,
        "within_budget": of.within_budget,
        "trained_steps": of.trained_steps,
        "wall_seconds": round(progress.wall_seconds, 2),
        "train_seconds": round(progress.train_seconds, 2),
        "solved_step": progress.solved_step,
        "solved_seconds": progress.solved_seconds and round(progress.solved_seconds, 2),
        "validation_loss": of.best.validation[evaluator.chosen_by],
        "train_tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "parameters": sum(cost.parameters for cost in costs.values()),
        "state_size": state_size(model, trained.params),
        "state_bytes": state_bytes(model, trained.params, slots),
        "flops_per_token": sum(cost.flops for cost in costs.values()),
        "eval/flops_per_token": round(realised_flops(model, costs, entries["eval/usage"])),
        **entries,
    }
    if own := evaluator.config.data.get("eval_file"):
        summary["eval_file"] = own
    if is_main_process():
        try:
            write_json(workdir / file_name, summary)
        except ValueError as error:
            raise UserError(
                f"{workdir}, step {of.step}: the model diverged: {error}"
            ) from error
        except OSError as error:
            raise UserError(
                f"step {of.step} is evaluated, but {workdir / file_name} cannot be written: "
                f"{error.strerror}"
            ) from error
    trained = evaluator.layout.gathered(trained)
    return Result(workdir, workdir / file_name, summary, results, trained, evaluator)
