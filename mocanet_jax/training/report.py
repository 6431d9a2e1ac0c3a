"""The end of a run: final evaluation, its JSON, its tables and pictures."""

from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from mocanet_jax.errors import UserError
from mocanet_jax.files import write_json
from mocanet_jax.nn.summary import component_costs
from mocanet_jax.tasks.task import Task
from mocanet_jax.tasks.text import TextTask
from mocanet_jax.training import pictures
from mocanet_jax.training.checkpoint import Progress
from mocanet_jax.training.record import read_metrics
from mocanet_jax.training.sequence_evaluator import SequenceEvaluator
from mocanet_jax.training.step import Model
from mocanet_jax.training.text_evaluator import TextEvaluator

Evaluator = SequenceEvaluator | TextEvaluator


def build_evaluator(model: Model, task: Task, config: ConfigDict) -> Evaluator:
    kind = TextEvaluator if isinstance(task, TextTask) else SequenceEvaluator
    return kind(model, task, config)


def report(
    workdir: Path,
    file_name: str,
    evaluator: Evaluator,
    params: dict,
    step: int,
    best: Progress,
    progress: Progress,
    console: Console,
) -> dict:
    """Evaluates `params` and writes `file_name` and pictures.

    step, best: of the checkpoint that holds `params`. progress: of the run as a whole.
    """
    costs = component_costs(evaluator.model, params)
    summary = {
        "task": evaluator.config.task,
        "steps": step,
        "wall_seconds": round(progress.wall_seconds, 2),
        "train_tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "parameters": sum(cost.parameters for cost in costs.values()),
        "flops_per_token": sum(cost.flops for cost in costs.values()),
        **evaluator.report(params, best.validation, workdir, console),
    }
    try:
        write_json(workdir / file_name, summary)
    except ValueError as error:
        raise UserError(f"{workdir}, step {step}: the model diverged: {error}") from error
    rows = read_metrics(workdir)
    if rows:
        pictures.learning_curves(rows, workdir / "curves.png")
    console.print(f"{workdir / file_name} and pictures beside it", highlight=False)
    return summary
