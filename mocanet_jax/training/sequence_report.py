"""The final evaluation of a sequence task, as a table, pictures and JSON."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from mocanet_jax.core.addressing import dense_weights
from mocanet_jax.nn.layer import LayerAux
from mocanet_jax.nn.model import MocaNet
from mocanet_jax.tasks.sequence import Batch, SequenceTask
from mocanet_jax.training import pictures
from mocanet_jax.training.step import TEST_STREAM, stream
from mocanet_jax.training.terminal import table

EXAMPLE_LENGTH = 40


class Results(NamedTuple):
    """overall: metrics over the task's range of lengths.
    by_length: metrics at single lengths, in rising order.
    """

    overall: dict[str, float]
    by_length: dict[int, dict[str, float]]


def draw(config, workdir: Path, model, task: SequenceTask, params, results: Results) -> None:
    """accuracy_by_length.png and, for one example, memory_layer_N.png."""
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


def memory_views(
    config, model: MocaNet, task: SequenceTask, params
) -> list[pictures.MemoryView]:
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


def _view(
    model: MocaNet, task: SequenceTask, aux: LayerAux, batch: Batch, predictions, name: str
):
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


def show(console: Console, results: Results, trained: tuple[int, int]) -> None:
    """Accuracy by length, with the range of training marked."""
    grid = table("length", "token accuracy", "exact match", "usage", "sequences")

    def row(name, m):
        scores = [f"{m[key]:.2%}" for key in ("accuracy", "exact_match", "usage")]
        grid.add_row(name, *scores, f"{m['sequences']:.0f}")

    row(f"{trained[0]} to {trained[1]}", results.overall)
    grid.add_section()
    for length, metrics in results.by_length.items():
        beyond = "" if length <= trained[1] else "  (beyond training)"
        row(f"{length}{beyond}", metrics)
    console.print(grid)


def flatten(results: Results) -> dict:
    flat = {f"eval/{name}": value for name, value in results.overall.items()}
    for metric in ("accuracy", "exact_match"):
        flat[f"eval/{metric}_by_length"] = {
            str(length): m[metric] for length, m in results.by_length.items()
        }
    return flat
