"""The end of a run: final evaluation, its JSON, its tables and pictures."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from rich.console import Console

from mocanet_jax.errors import UserError
from mocanet_jax.files import write_json
from mocanet_jax.nn.summary import component_costs, realised_flops
from mocanet_jax.tasks.task import Task
from mocanet_jax.tasks.text import TextTask
from mocanet_jax.training import curves
from mocanet_jax.training.checkpoint import Progress
from mocanet_jax.training.model import Model
from mocanet_jax.training.processes import leads
from mocanet_jax.training.record import read_metrics
from mocanet_jax.training.sequence_evaluator import SequenceEvaluator
from mocanet_jax.training.settings import is_moca
from mocanet_jax.training.sharding import Layout
from mocanet_jax.training.text_evaluator import TextEvaluator

Evaluator = SequenceEvaluator | TextEvaluator


def build_evaluator(model: Model, task: Task, config: ConfigDict, layout: Layout) -> Evaluator:
    kind = TextEvaluator if isinstance(task, TextTask) else SequenceEvaluator
    return kind(model, task, config, layout)


def budget_target(config: Mapping) -> float | None:
    """The share of the full compute that a run is held to, None where none can bind."""
    model = config["model"]
    chooses = is_moca(config) and model.get("routing") == "dynamic"
    binds = chooses and model["target_budget"] < 1
    return model["target_budget"] if binds else None


def state_size(model: Model, params: dict) -> int:
    """Numbers that a model carries from token to token of one sequence, with room for the
    longest in training: floats of its state, not counts of tokens."""
    start = lambda p: model.apply({"params": p}, 1, method="initial_state")
    leaves = jax.tree.leaves(jax.eval_shape(start, params))
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def report(
    workdir: Path,
    file_name: str,
    evaluator: Evaluator,
    params: dict,
    step: int,
    best: Progress,
    trained_steps: int,
    progress: Progress,
    console: Console,
) -> dict:
    """Evaluates `params`, in all processes, and writes `file_name` and pictures, in the first.

    step, best: of the checkpoint that holds `params`. trained_steps, progress: of the run as a
    whole.
    """
    model = evaluator.model
    costs = component_costs(model, params)
    results = evaluator.report(params, best.validation, workdir, console)
    summary = {
        "task": evaluator.config.task,
        "steps": step,
        "trained_steps": trained_steps,
        "wall_seconds": round(progress.wall_seconds, 2),
        "train_seconds": round(progress.train_seconds, 2),
        "solved_step": progress.solved_step,
        "solved_seconds": progress.solved_seconds and round(progress.solved_seconds, 2),
        "validation_loss": best.validation[evaluator.chosen_by],
        "train_tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "parameters": sum(cost.parameters for cost in costs.values()),
        "state_size": state_size(model, params),
        "flops_per_token": sum(cost.flops for cost in costs.values()),
        "eval/flops_per_token": round(realised_flops(model, costs, results["eval/usage"])),
        **results,
    }
    if not leads():
        return summary
    try:
        write_json(workdir / file_name, summary)
    except ValueError as error:
        raise UserError(f"{workdir}, step {step}: the model diverged: {error}") from error
    rows = read_metrics(workdir)
    if rows:
        target = budget_target(evaluator.config)
        curves.learning_curves(rows, target, workdir / "curves.png")
    console.print(f"{workdir / file_name} and pictures beside it", highlight=False)
    return summary
