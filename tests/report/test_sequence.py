"""The results of a sequence task, as a table that adds up and as entries of a summary."""

import io
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from mocanet_jax.core.addressing import Address
from mocanet_jax.evaluate.results import SequenceResults as Results
from mocanet_jax.nn.experts import ExpertsAux
from mocanet_jax.nn.heads import Trace
from mocanet_jax.nn.layer import LayerAux
from mocanet_jax.nn.memory import MemoryAux
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.nn.stack import ModelAux
from mocanet_jax.report import sequence as sequence_report
from mocanet_jax.tasks.synthetic.copy import CopyTask
from tests.train import tiny

METRICS = {"accuracy": 0.75, "exact_match": 0.5, "usage": 0.25, "sequences": 32.0}


def printed(*arguments):
    console = Console(file=io.StringIO(), width=100)
    sequence_report.show(console, *arguments)
    return console.file.getvalue()


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_results_mark_what_lies_beyond_training():
    """Otherwise an extrapolation reads like a result on the range of training."""
    far = METRICS | {"accuracy": 0.125, "sequences": 4.0}
    results = Results(METRICS, {10: METRICS, 61: far})
    rows = [cells(line) for line in printed(results, (10, 60)).splitlines()]
    assert ["10 to 60", "75.00%", "50.00%", "25.00%", "32"] in rows
    assert ["10", "75.00%", "50.00%", "25.00%", "32"] in rows
    assert ["61", "(beyond training)", "12.50%", "50.00%", "25.00%", "4"] in rows


class Gated:
    """Stands in for a model of one layer, two heads and two of three experts: it engages the
    first of each at even tokens, and the second at the two tokens after the first."""

    layer = SimpleNamespace(memory=SimpleNamespace(num_slots=4), num_experts=3)

    def __init__(self, together):
        self.together = together  # both heads are of one kind

    def apply(self, variables, tokens, mask, multiplier):
        time = tokens.shape[1]
        self.gates = np.zeros((1, time, 2))
        self.gates[:, ::2, 0] = self.gates[:, 1:3, 1] = 1
        slots = np.broadcast_to([[2], [3]], (1, time, 2, 1))
        address = Address(jnp.asarray(slots), jnp.ones(slots.shape))
        gates = jnp.asarray(self.gates)
        whole = Trace(address, address, gates)
        each = [jax.tree.map(lambda x, n=n: x[:, :, n : n + 1], whole) for n in range(2)]
        traces = (whole,) if self.together else tuple(each)
        memory = MemoryAux(gates, 1 - gates, None, None, traces, None)
        chosen = jnp.broadcast_to(jnp.array([2, 0]), gates.shape)
        experts = ExpertsAux(chosen, gates > 0, gates > 0, *[None] * 3)
        aux = ModelAux((LayerAux(None, memory, experts, *[None] * 3),), *[None] * 6)
        return jnp.zeros((1, time, 5)), None, aux


@pytest.mark.parametrize("together", [True, False])
def test_pictures_show_what_was_engaged(together):
    """An expert or a read whose gate is closed would be drawn as if it were used. Heads of
    several kinds stand one after another, as those of one kind do."""
    task, model = CopyTask(shortest=1, longest=4, first_longest=1), Gated(together)
    example = sequence_report.example(tiny.config(), model, task, Trained({}, 0.0))
    (view,) = sequence_report.memory_views(model.layer, example).values()
    gates = model.gates[0, : len(view.sequence.tokens)]
    assert gates.any(axis=0).all()
    np.testing.assert_array_equal(view.experts, np.where(gates, [2, 0], -1))
    np.testing.assert_array_equal(view.writes, gates > 0)
    np.testing.assert_array_equal(view.reads, gates == 0)
    np.testing.assert_array_equal(view.strength, gates)
    steps = np.ones(len(gates))
    np.testing.assert_array_equal(view.read_weights[0], np.outer([0, 0, 1, 0], steps))
    np.testing.assert_array_equal(view.read_weights[1], np.outer([0, 0, 0, 1], steps))
