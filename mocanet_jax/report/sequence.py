"""The final evaluation of a sequence task, as a table and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from mocanet_jax.core.addressing import Address
from mocanet_jax.evaluate.results import SequenceResults
from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.layer import LayerAux
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.report import sequence_pictures
from mocanet_jax.report.sequence_pictures import Answered, MemoryView
from mocanet_jax.report.terminal import table
from mocanet_jax.runtime.random_streams import TEST, stream
from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

EXAMPLE_LENGTH = 40


class Example(NamedTuple):
    """One sequence, and the auxiliary outputs of each layer at its T unmasked steps, [T, …]."""

    sequence: Answered
    layers: tuple[LayerAux, ...]


def draw(
    workdir: Path, evaluator: SequenceEvaluator, trained: Trained, results: SequenceResults
) -> None:
    """accuracy_by_length.png and, for one example, memory_layer_N.png."""
    model, task = evaluator.model, evaluator.task
    if results.by_length:
        sequence_pictures.accuracy_by_length(
            {length: m["accuracy"] for length, m in results.by_length.items()},
            {length: m["exact_match"] for length, m in results.by_length.items()},
            (task.shortest, task.longest),
            workdir / "accuracy_by_length.png",
        )
    views = memory_views(model.layer, example(evaluator.config, model, task, trained))
    for name, view in views.items():
        sequence_pictures.memory_over_time(view, workdir / name)


def example(config, model: SequenceModel, task: SequenceTask, trained: Trained) -> Example:
    """The first sequence of the final evaluation's stream, of EXAMPLE_LENGTH or less."""
    length = min(EXAMPLE_LENGTH, task.longest)
    batch = task.sample(stream(config.seed, TEST), 1, (length, length), length)
    apply = jax.jit(lambda t: t.apply(model, batch.tokens, mask=batch.mask))
    logits, _, aux = apply(trained)
    return example_of(task, batch, logits, aux.layers)


def example_of(task: SequenceTask, batch: Batch, logits, layers: Sequence[LayerAux]) -> Example:
    """The first sequence of a batch, from what a model made of the batch."""
    batch, logits, layers = jax.device_get((batch, logits, layers))
    live = int(batch.mask[0].sum())
    sequence = Answered(
        batch.tokens[0, :live],
        batch.targets[0, :live],
        np.argmax(logits[0, :live], axis=-1),
        batch.scored[0, :live],
        task.blank,
        task.marker,
        task.symbol,
    )
    first = lambda x: x[0, :live] if np.ndim(x) > 1 else x  # all but sums are [1, T, …]
    return Example(sequence, jax.tree.map(first, layers))


def memory_views(config: LayerConfig | None, example: Example) -> dict[str, MemoryView]:
    """The accesses of each layer with a memory on the example, by the names of its pictures."""
    if config is None or not config.memory:
        return {}
    return {
        f"memory_layer_{n}.png": _view(config, aux, example.sequence, f"layer {n}")
        for n, aux in enumerate(example.layers)
    }


def _view(config: LayerConfig, aux: LayerAux, sequence: Answered, name: str) -> MemoryView:
    memory, traces = aux.memory, aux.memory.traces
    num_slots = config.memory.num_slots

    def dense(addresses):  # of kinds of heads, each [T, H, A], together [H, S, T]
        weights = [_dense(address, num_slots) for address in addresses]
        return np.transpose(np.concatenate(weights, axis=1), (1, 2, 0))

    def pointers(positions):  # [T, H], NaN for heads without pointers
        if all(p is None for p in positions):
            return None
        shapes = [trace.strength.shape for trace in traces]
        missing = (np.full(shape, np.nan) for shape in shapes)
        both = zip(positions, missing, strict=True)
        return np.concatenate([m if p is None else p for p, m in both], axis=1)

    experts = None
    if aux.experts is not None:
        experts = np.where(aux.experts.computed, aux.experts.indices, -1)
    return MemoryView(
        sequence=sequence,
        write_weights=dense([trace.write for trace in traces]),
        read_weights=dense([trace.read for trace in traces]),
        strength=np.concatenate([trace.strength for trace in traces], axis=1),
        writes=memory.writes > 0,
        reads=memory.reads > 0,
        write_pointer=pointers([trace.write_pointer for trace in traces]),
        read_pointer=pointers([trace.read_pointer for trace in traces]),
        experts=experts,
        num_experts=config.num_experts,
        layer=name,
    )


def _dense(address: Address, num_slots: int) -> np.ndarray:
    """As addressing.dense_weights, without a program for each length."""
    dense = np.zeros((*address.indices.shape[:-1], num_slots))
    np.put_along_axis(dense, address.indices, address.weights, axis=-1)
    return dense


def show(console: Console, results: SequenceResults, trained: tuple[int, int]) -> None:
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
