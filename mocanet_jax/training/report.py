"""The end of a run: final evaluation, its JSON, its tables and pictures."""

from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from mocanet_jax.core.addressing import dense_weights
from mocanet_jax.nn.layer import LayerAux
from mocanet_jax.nn.model import MocaNet
from mocanet_jax.nn.summary import component_costs
from mocanet_jax.tasks.task import Batch, Task
from mocanet_jax.training import pictures
from mocanet_jax.training.checkpoint import Progress
from mocanet_jax.training.evaluate import Evaluator, Results
from mocanet_jax.training.record import read_metrics, write_json
from mocanet_jax.training.step import TEST_STREAM, stream
from mocanet_jax.training.terminal import show_results

EXAMPLE_LENGTH = 40


def report(
    workdir: Path,
    file_name: str,
    evaluator: Evaluator,
    params: dict,
    step: int,
    progress: Progress,
    console: Console,
) -> dict:
    """Evaluates `params`, the checkpoint of `step`, and writes `file_name` and pictures."""
    model, task, config = evaluator.model, evaluator.task, evaluator.config
    results = evaluator.test(params)
    costs = component_costs(model, params)
    summary = {
        "task": config.task,
        "steps": step,
        "wall_seconds": round(progress.wall_seconds, 2),
        "train_tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "parameters": sum(cost.parameters for cost in costs.values()),
        "flops_per_token": sum(cost.flops for cost in costs.values()),
        **_flatten(results),
    }
    write_json(workdir / file_name, summary)
    draw(config, workdir, model, task, params, results)
    show_results(console, results, (task.shortest, task.longest))
    console.print(f"{workdir / file_name} and pictures beside it", highlight=False)
    return summary


def draw(config, workdir: Path, model, task: Task, params, results: Results) -> None:
    """curves.png, accuracy_by_length.png and, for one example, memory_layer_N.png."""
    rows = read_metrics(workdir)
    if rows:
        pictures.learning_curves(rows, workdir / "curves.png")
    if results.by_length:
        pictures.accuracy_by_length(
            {length: m["accuracy"] for length, m in results.by_length.items()},
            {length: m["exact_match"] for length, m in results.by_length.items()},
            (task.shortest, task.longest),
            workdir / "accuracy_by_length.png",
        )
    for view in memory_views(config, model, task, params):
        name = view.layer.replace(" ", "_")
        pictures.memory_over_time(view, workdir / f"memory_{name}.png")


def memory_views(config, model: MocaNet, task: Task, params) -> list[pictures.MemoryView]:
    """What each layer with a memory did on one example of the final evaluation's stream."""
    length = min(EXAMPLE_LENGTH, task.longest)
    batch = task.sample(stream(config.seed, TEST_STREAM), 1, (length, length), length)
    apply = jax.jit(lambda p: model.apply({"params": p}, batch.tokens, mask=batch.mask))
    logits, _, aux = jax.device_get(apply(params))
    batch = jax.device_get(batch)
    predictions = np.argmax(logits[0], axis=-1)
    if not model.layer.num_heads:
        return []
    return [
        _view(model, task, layer, batch, predictions, f"layer {i + 1}")
        for i, layer in enumerate(aux.layers)
    ]


def _view(model: MocaNet, task: Task, aux: LayerAux, batch: Batch, predictions, name: str):
    live = int(batch.mask[0].sum())
    spec, route = model.layer, aux.route

    def dense(address):  # [1, T, H, A] -> [H, S, T]
        weights = dense_weights(address, spec.num_memory_slots)[0, :live]
        return np.transpose(np.asarray(weights), (1, 2, 0))

    pointers = None if route.positions is None else route.positions[0, :live]
    return pictures.MemoryView(
        tokens=batch.tokens[0, :live],
        targets=batch.targets[0, :live],
        predictions=predictions[:live],
        scored=batch.scored[0, :live],
        write_weights=dense(route.write),
        read_weights=dense(route.read),
        strength=route.strength[0, :live],
        write_pointer=None if pointers is None else pointers[:, 0],
        read_pointer=None if pointers is None else pointers[:, 1],
        experts=None if aux.experts is None else aux.experts.indices[0, :live],
        num_experts=spec.num_experts,
        layer=name,
        blank=task.blank,
        marker=task.marker,
    )


def _flatten(results: Results) -> dict:
    flat = {f"eval/{name}": value for name, value in results.overall.items()}
    for metric in ("accuracy", "exact_match"):
        flat[f"eval/{metric}_by_length"] = {
            str(length): m[metric] for length, m in results.by_length.items()
        }
    return flat
