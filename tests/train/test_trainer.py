"""The training step: its loss, its data, and what it updates."""

from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mocanet_jax.core.budget import Flops, Usage
from mocanet_jax.nn.controller import ControllerState
from mocanet_jax.nn.layer import LayerState
from mocanet_jax.nn.stack import ModelState
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.tasks.synthetic.copy import CopyTask
from mocanet_jax.tasks.task import Lengths
from mocanet_jax.train import trainer
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.state import TrainState, step_keys
from mocanet_jax.train.trainer import LOSS_TERMS, Inputs, StepSettings, Trainer
from tests.train import tiny

TASK = CopyTask(shortest=1, longest=4, first_longest=2)
SGD = optax.sgd(0.1)


@pytest.fixture
def rows(finished):
    return [row for row in read_metrics(finished[0]) if "train/loss" in row]


def test_the_loss_is_the_sum_of_its_logged_terms(rows):
    """Otherwise something is trained for that no record shows."""
    for row in rows:
        total = sum(row[f"train/{name}"] for name in LOSS_TERMS)
        assert row["train/loss"] == pytest.approx(total, rel=1e-6)
        assert all(row[f"train/{name}"] > 0 for name in LOSS_TERMS[:3])
        assert row["train/z_loss"] == 0, "bounded logits need none"
    assert len(rows) == tiny.STEPS


class HalfRight(NamedTuple):
    sequences: jax.Array

    def means(self):
        return {"task_loss": 0.75, "accuracy": 0.5}


class Fake:
    """Stands in for a model and for its task: returns a given aux, and scores 0.75 nats."""

    layer = None
    lengths = Lengths(1, 4, 2)

    def __init__(self, **aux):
        self.aux = SimpleNamespace(**aux)

    def apply(self, variables, *arguments, method=None, **settings):
        self.settings = settings
        return ModelState(()) if method else (jnp.zeros((8, 4)), None, self.aux)

    def scored_positions(self, batch):
        return None, batch

    def score(self, logits, batch):
        return HalfRight(jnp.float32(len(logits)))


@pytest.mark.parametrize(
    ("hardness", "factor", "penalty"), [(1.0, 1.0, 3.6), (0.0, 0.1, 3.6), (1.0, 0.1, 3.06)]
)
def test_the_loss_by_hand(hardness, factor, penalty):
    """Otherwise a term has another weight than configured, or the budget looks at another
    share. 0.0125 above a target of 0.5 is three quarters into the band, so that a multiplier of
    20 makes an expected share of 0.2 cost (3 + 0.75 · 0.05 · 20²) 0.2; 6 of balance, of z and
    of the quantisation penalty weigh 0.01, 0.001 and, once decisions are hard, 0.01. Of the 3 a
    tenth is left then, where the config has it so."""
    possible = Flops(*(jnp.float32(x) for x in (60, 20, 20)))
    spent = (jnp.float32(x) for x in (26.25, 20, 5))
    six = jnp.float32(6)
    fake = Fake(
        usage=Usage(*spent, possible, jnp.zeros(0), jnp.zeros(1)),
        expected_share=jnp.float32(0.2),
        balance_loss=six,
        z_loss=six,
        penalty=six,
        dropped=3,
    )
    batch = TASK.sample(jax.random.key(0), 8, (1, 4), 4)
    config = tiny.config(
        model__budget__base_cost_when_grown=factor, model__memory__quantisation_penalty=0.01
    )
    fixed = StepSettings(jnp.float32(0.9), jnp.float32(hardness), jnp.float32(20))
    of = Trainer(fake, fake, SGD, config)
    loss, (metrics, _) = of.loss({}, Inputs(batch), step_keys(0, jnp.int32(0)), fixed)
    assert fake.settings["multiplier"] == 20
    # The first quarter of a batch has a hardness of its own.
    np.testing.assert_allclose(fake.settings["hardness"], 2 * [0.9] + 6 * [hardness])
    expected = {"task_loss": 0.75, "budget_loss": penalty}
    expected |= {"balance_loss": 0.06, "z_loss": 0.006, "quantisation_loss": 0.06 * hardness}
    assert expected.keys() == set(LOSS_TERMS)
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-5)
    total = pytest.approx(sum(expected.values()), rel=1e-5)
    assert float(loss) == float(metrics["loss"]) == total
    assert float(metrics["usage"]) == pytest.approx(0.5125)
    assert float(metrics["dropped"] * metrics["tokens"]) == pytest.approx(3)


def test_lengths_grow_by_the_factor_and_one_up_to_the_longest(rows):
    """From 1, by a factor of 1.1 and 1: 2.1, 3.31, and then the longest, 4. The batch at the
    longest confirms the task, so that the next is a fifth hard; λ is not moved yet."""
    assert [row["train/longest"] for row in rows] == [1, 2, 3, 4, 4]
    assert [row["train/hardness"] for row in rows] == pytest.approx([0, 0, 0, 0, 0.2])
    assert {row["train/multiplier"] for row in rows} == {0}


def test_logged_tokens_are_those_of_the_batch(rows):
    """Otherwise padding counts as trained on, and speed is reported too high."""
    task = CopyTask(shortest=1, longest=4, first_longest=1)
    for row in rows:
        key = step_keys(0, jnp.int32(row["step"] - 1)).batch
        batch = task.sample(key, 4, (1, int(row["train/longest"])), 4)
        assert row["train/tokens"] == batch.mask.sum() < batch.mask.size


class Seen:
    """Stands in for `Trainer.loss`: notes what it is given, and reports a fixed accuracy and
    usage."""

    def __init__(self, monkeypatch, accuracy, usage=0.5):
        self.accuracy, self.usage = accuracy, usage
        monkeypatch.setattr(Trainer, "loss", self)

    def __call__(self, params, inputs, keys, settings, share):
        self.batch, self.keys, self.settings = inputs.batch, keys, settings
        loss = jnp.sum(params["w"])
        shown = {"soft_accuracy": jnp.float32(self.accuracy), "usage": jnp.float32(self.usage)}
        shown |= {"hard_accuracy": jnp.float32(self.accuracy)}
        return loss, ({"loss": loss} | shown, None)


GATED = SimpleNamespace(layer=SimpleNamespace(dynamic=True, max_multiplier=7.0))
"""Stands in for a model, of which an update only reads how far λ can rise."""


def start(number=0, longest=4.0, confirmed=0, multiplier=0.0, average=None):
    """A state of training with parameters of 1."""
    params = {"w": jnp.ones(3)}
    curriculum = CurriculumState(
        jnp.float32(longest), *2 * [jnp.float32(1)], jnp.int32(confirmed), jnp.int32(0)
    )
    return TrainState(
        jnp.int32(number),
        params,
        jnp.float32(multiplier),
        SGD.init(params),
        curriculum,
        average,
        jnp.int32(0),
    )


def after(state, seed=0, model=GATED, **changes):
    """The state after a step, and its metrics."""
    of = Trainer(model, TASK, SGD, tiny.config(**changes))
    return of.step(state, seed, (), ())


def test_a_step_updates_and_counts(monkeypatch):
    """Gradient 1, learning rate 0.1."""
    Seen(monkeypatch, 0.0)
    state, metrics = after(start(6, longest=2.0))
    assert int(state.step) == 7
    np.testing.assert_allclose(state.params["w"], 0.9, rtol=1e-6)
    assert float(metrics["gradient_norm"]) == pytest.approx(3**0.5)
    assert float(metrics["longest"]) == 2


def test_a_step_trains_with_the_hardness_and_the_multiplier_of_its_state(monkeypatch):
    """And logs them, not their updates."""
    seen = Seen(monkeypatch, 1.0, usage=1.0)
    _, metrics = after(start(confirmed=3, multiplier=2.0))
    assert float(seen.settings.hardness) == float(metrics["hardness"]) == pytest.approx(0.6)
    assert float(seen.settings.first_hardness) == 1
    assert float(seen.settings.multiplier) == float(metrics["multiplier"]) == 2


@pytest.mark.parametrize(
    ("usage", "expected"),
    [(0.55, (2.03, 7.0)), (0.5, (2.0, 7.0)), (0.4, (1.94, 6.94)), (0.0, (1.7, 6.7))],
)
def test_the_multiplier_follows_usage(monkeypatch, usage, expected):
    """Between 0 and the highest, by 0.3 times the excess over a target of 0.5."""
    Seen(monkeypatch, 1.0, usage)
    for before, value in zip((2.0, 7.0), expected, strict=True):
        state, _ = after(start(confirmed=10, multiplier=before))
        assert float(state.multiplier) == pytest.approx(value)


@pytest.mark.parametrize(
    ("confirmed", "accuracy", "expected"), [(8, 1.0, 0.0), (9, 1.0, 0.06), (10, 0.9, 0.06)]
)
def test_the_multiplier_waits_for_a_task_that_is_learned(
    monkeypatch, confirmed, accuracy, expected
):
    """First learn the task, then learn to do it for less: a gate that is closed before it is
    useful stays closed. A tenth above the target moves λ by 0.1 · 0.6."""
    Seen(monkeypatch, accuracy, usage=0.55)
    state, _ = after(start(confirmed=confirmed), model__budget__multiplier_rate=0.6)
    assert float(state.multiplier) == pytest.approx(expected)


def test_a_lost_task_is_not_pressed(monkeypatch):
    """All that was closed opens at once."""
    Seen(monkeypatch, 0.0, usage=1.0)
    low = start(confirmed=10, multiplier=5.0)
    low = low._replace(curriculum=low.curriculum._replace(accuracy=jnp.float32(0.2)))
    state, _ = after(low, train__curriculum__accuracy=0.97)
    assert float(state.multiplier) == 0
    assert float(state.curriculum.hardness) == 0


def test_fixed_routing_leaves_the_multiplier_alone(monkeypatch):
    Seen(monkeypatch, 1.0, usage=1.0)
    for layer in (None, SimpleNamespace(dynamic=False)):
        state, _ = after(start(confirmed=10), model=SimpleNamespace(layer=layer))
        assert float(state.multiplier) == 0


def test_a_batch_is_a_function_of_seed_and_step(monkeypatch):
    """Otherwise a resumed run sees other data than an uninterrupted one."""
    seen = Seen(monkeypatch, 0.0)

    def drawn(number, seed):
        after(start(number), seed)
        return seen.batch, jax.tree.map(jax.random.key_data, seen.keys)

    one = drawn(3, 0)
    jax.tree.map(np.testing.assert_array_equal, one, drawn(3, 0))
    for batch, keys in (drawn(4, 0), drawn(3, 1)):
        assert (batch.tokens != one[0].tokens).any()
        for key, same in zip(keys, one[1], strict=True):
            assert (key != same).any()


@pytest.mark.parametrize("longest", [1.0, 2.0, 3.9])
def test_batches_hold_the_lengths_of_the_moment(monkeypatch, longest):
    """Otherwise the curriculum has no effect, or changes shapes and compiles at every step."""
    seen = Seen(monkeypatch, 0.0)
    after(start(longest=longest), train__batch_size=64)
    assert set(seen.batch.length.tolist()) == set(range(1, int(longest) + 1))
    assert seen.batch.tokens.shape == (64, TASK.num_steps(4))


def test_a_step_averages_what_it_has_just_updated(monkeypatch):
    """From 5, in the first step: 0.1 · 5 + 0.9 · 0.9."""
    Seen(monkeypatch, 0.0)
    averaging = start(average={"w": jnp.full(3, 5.0)})
    state, _ = after(averaging, train__average_decay=0.5)
    np.testing.assert_allclose(state.params["w"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(state.average["w"], 0.5 + 0.81, rtol=1e-6)
    assert after(start())[0].average is None


def test_a_running_average_by_hand():
    """Shares (1 + step)/(10 + step) of the old one, 0.1 and 2/11, and never above the decay:
    otherwise an average is still full of the first, untrained parameters."""
    old, new = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([11.0, 8.0])}
    shares = {(0, 0.9): 0.1, (1, 0.9): 2 / 11, (90, 0.5): 0.5, (90, 1.0): 0.91}
    for (number, decay), share in shares.items():
        average = trainer.running_average(old, new, jnp.int32(number), decay)
        np.testing.assert_allclose(average["w"], 11 - 10 * share + np.array([0, -3]), rtol=1e-6)


def test_a_running_average_goes_to_parameters_that_rest():
    """Otherwise what is evaluated stays behind for ever."""
    average, rest = {"w": jnp.full(2, 100.0)}, {"w": jnp.array([3.0, -3.0])}
    advance = jax.jit(trainer.running_average)
    for number in range(60):
        average = advance(average, rest, number, 0.8)
    np.testing.assert_allclose(average["w"], rest["w"], atol=1e-3)


def test_noise_changes_controllers_and_nothing_else():
    """Otherwise training starts from memories or pointers that no sequence starts from."""
    controller, heads = ControllerState(jnp.zeros((50, 40))), (jnp.ones((2, 2)),)
    layer = LayerState(controller, jnp.ones(5), jnp.ones(6), heads)
    state = ModelState((layer, layer._replace(controller=None), layer))
    first, second, third = trainer.add_state_noise(state, jax.random.key(1), 0.5).layers
    for noisy in (first, third):
        hidden = np.asarray(noisy.controller.hidden)
        assert abs(hidden.mean()) < 0.05  # 2000 numbers: 0 ± 0.011
        assert abs(hidden.std() - 0.5) < 0.05  # 0.5 ± 0.008
    assert (first.controller.hidden != third.controller.hidden).any()
    assert second.controller is None
    for noisy in (first, second, third):
        assert noisy.counters is layer.counters
        assert noisy.automata is layer.automata
        assert noisy.memory[0] is layer.memory[0]


def test_no_noise_changes_nothing():
    state = ModelState((LayerState(ControllerState(jnp.arange(6.0)), None, None, None),))
    (layer,) = trainer.add_state_noise(state, jax.random.key(1), 0.0).layers
    np.testing.assert_array_equal(layer.controller.hidden, jnp.arange(6.0))
