"""The training step: its loss, its data and its curriculum."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mocanet_jax.core.budget import Prices, Usage
from mocanet_jax.nn.controller import ControllerState
from mocanet_jax.nn.layer import LayerState
from mocanet_jax.nn.models.classifier import MocaClassifier
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.stack import ModelState
from mocanet_jax.nn.summary import component_costs
from mocanet_jax.runtime import random_streams
from mocanet_jax.runtime.metrics_log import read_metrics
from mocanet_jax.tasks.synthetic.copy import CopyTask
from mocanet_jax.train import build, optimizer, step
from tests.train import tiny

TASK = CopyTask(shortest=1, longest=4, first_longest=2)
SGD = optax.sgd(0.1)
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiling takes far longer than running."""


@pytest.fixture
def rows(finished):
    return [row for row in read_metrics(finished[0]) if "train/loss" in row]


def test_the_loss_is_the_sum_of_its_logged_terms(rows):
    """Otherwise something is trained for that no record shows."""
    for row in rows:
        total = sum(row[f"train/{name}"] for name in step.LOSS_TERMS)
        assert row["train/loss"] == pytest.approx(total, rel=1e-6)
        assert all(row[f"train/{name}"] > 0 for name in step.LOSS_TERMS[:3])
        assert row["train/z_loss"] == 0, "bounded logits need none"
    assert len(rows) == tiny.STEPS


class Told:
    """Stands in for a model and for its task: it did what it is told, and scores 0.75 nats."""

    def __init__(self, **did):
        self.aux = SimpleNamespace(**did)

    def apply(self, variables, *arguments, method=None, **settings):
        return ModelState(()) if method else (None, None, self.aux)

    def asked(self, batch):
        return {}, batch

    def score(self, logits, batch):
        return SimpleNamespace(means=lambda: {"task_loss": 0.75, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("rounding", "left", "charged"), [(1.0, 1.0, 3.6), (0.0, 0.1, 3.6), (1.0, 0.1, 3.06)]
)
def test_the_loss_by_hand(rounding, left, charged):
    """Otherwise a term has another weight than configured, or the budget looks at another
    share. 0.0125 above a target of 0.5 is three quarters into the band, so that a price of 20
    makes an expected share of 0.2 cost (3 + 0.75 · 0.05 · 20²) 0.2; 6 of balance, of z and of
    indecision weigh 0.01, 0.001 and, once pointers are rounded, 0.01. Of the 3 a tenth is left
    once lengths are grown, if asked for."""
    possible = Prices(*(jnp.float32(x) for x in (60, 20, 20)))
    usage = Usage(
        *(jnp.float32(x) for x in (26.25, 20, 5)), possible, jnp.zeros(0), jnp.zeros(1)
    )
    six = jnp.float32(6)
    told = Told(
        usage=usage,
        expected_share=jnp.float32(0.2),
        price=jnp.float32(20),
        balance_loss=six,
        z_loss=six,
        indecision=six,
        dropped=3,
    )
    batch = TASK.sample(jax.random.key(0), 2, (1, 4), 4)
    keys = step.step_keys(0, jnp.int32(0))
    config = tiny.config(
        model__budget__base_cost_when_grown=left, model__memory__quantisation_penalty=0.01
    )
    loss, metrics = step.total_loss({}, told, told, batch, keys, rounding, config)
    expected = {"task_loss": 0.75, "budget_loss": charged}
    expected |= {"balance_loss": 0.06, "z_loss": 0.006, "commitment_loss": 0.06 * rounding}
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-5)
    assert (
        float(loss) == float(metrics["loss"]) == pytest.approx(sum(expected.values()), rel=1e-5)
    )
    assert (float(metrics["price"]), float(metrics["usage"])) == pytest.approx((20, 0.5125))
    assert float(metrics["dropped"] * metrics["tokens"]) == pytest.approx(3)


def test_the_price_of_a_run_follows_its_usage(rows):
    """From the step on whose lengths are the longest, the fourth; until then compute is free,
    however far usage is above the target. What a step logs is the price that it trained
    with."""
    prices = [row["train/price"] for row in rows]
    assert prices[:4] == [0, 0, 0, 0]
    excess = min(rows[3]["train/usage"] / 0.5 - 1, 1)
    assert excess > 0
    assert prices[4] == pytest.approx(0.3 * excess, rel=1e-5)


def test_lengths_grow_by_the_factor_and_one_up_to_the_longest(rows):
    """From 1, by a factor of 1.1 and 1: 2.1, 3.31, and then the longest, 4."""
    assert [row["train/longest"] for row in rows] == [1, 2, 3, 4, 4]


def test_logged_tokens_are_those_of_the_batch(rows):
    """Otherwise padding counts as trained on, and speed is reported too high."""
    task = CopyTask(shortest=1, longest=4, first_longest=1)
    for row in rows:
        key = step.step_keys(0, jnp.int32(row["step"] - 1)).batch
        batch = task.sample(key, 4, (1, int(row["train/longest"])), 4)
        assert row["train/tokens"] == batch.mask.sum() < batch.mask.size


class Seen:
    """Stands in for `total_loss`: notes what it is given and reports a fixed accuracy and
    usage."""

    def __init__(self, monkeypatch, accuracy, usage=0.5):
        self.accuracy, self.usage = accuracy, usage
        monkeypatch.setattr(step, "total_loss", self)

    def __call__(self, params, model, task, batch, keys, rounding, config, share):
        self.batch, self.keys, self.rounding = batch, keys, rounding
        loss = jnp.sum(params["w"])
        told = {"accuracy": jnp.float32(self.accuracy), "usage": jnp.float32(self.usage)}
        return loss, {"loss": loss} | told


PRICED = SimpleNamespace(layer=SimpleNamespace(highest_price=7.0))
"""Stands in for a classifier, of which a step only asks how far prices can rise."""


def after(number, longest, average=None, params=None, optimize=SGD, seed=0, **changes):
    """The state after step number + 1 of training from `longest`."""
    params = {"w": jnp.ones(3)} if params is None else params
    moments = optimize.init(params)
    state = step.TrainState(
        jnp.int32(number), params, moments, jnp.float32(longest), average, jnp.int32(0)
    )
    config = tiny.config(**changes)
    return step.train_step(state, seed, (), (), PRICED, TASK, optimize, config)


@pytest.mark.parametrize(
    ("accuracy", "longest", "expected"),
    [
        (0.96, 2.0, 2.0),
        (0.97, 2.0, 3.2),
        (1.0, 2.5, 3.75),
        (1.0, 3.0, 4.0),
        (0.9, 4.0, 4.0),
        (0.89, 3.75, 2.5),
        (0.0, 4.0, 3 / 1.1),
        (0.0, 2.5, 2.0),  # the first longest
    ],
)
def test_accuracy_makes_lengths_grow_and_shrink(monkeypatch, accuracy, longest, expected):
    """Otherwise long sequences come before short ones are learned, or what is lost at long
    ones, where gradients are of little use, is never found again."""
    Seen(monkeypatch, accuracy)
    state, _ = after(
        0,
        longest,
        train__curriculum__accuracy=0.97,
        train__curriculum__growth=1.1,
        train__curriculum__retreat=0.9,
    )
    assert float(state.longest) == pytest.approx(expected)


def test_lengths_stay_where_no_retreat_is_asked_for(monkeypatch):
    """Under a budget below the need accuracy is low for good, and lengths are to stay."""
    Seen(monkeypatch, 0.0)
    assert float(after(0, 4.0)[0].longest) == 4


def test_a_step_updates_and_counts(monkeypatch):
    """Gradient 1, learning rate 0.1."""
    Seen(monkeypatch, 0.0)
    state, metrics = after(6, 2.0)
    assert int(state.step) == 7
    np.testing.assert_allclose(state.params["w"], 0.9, rtol=1e-6)
    assert float(metrics["gradient_norm"]) == pytest.approx(3**0.5)
    assert float(metrics["longest"]) == 2


@pytest.mark.parametrize(("longest", "rounding"), [(3.9, 0.0), (4.0, 1.0)])
def test_pointers_move_whole_slots_once_lengths_are_grown(monkeypatch, longest, rounding):
    """Otherwise training ends on pointers that evaluation does not have."""
    seen = Seen(monkeypatch, 0.0)
    after(0, longest)
    assert float(seen.rounding) == rounding


@pytest.mark.parametrize(("longest", "price"), [(1.0, 2.0), (3.9, 2.0), (4.0, 2.06)])
def test_the_price_holds_while_lengths_grow(monkeypatch, longest, price):
    """First learn the task, then learn to do it for less: what is shut before it is
    understood is never understood. A tenth above the target moves it by 0.1 · 0.6."""
    Seen(monkeypatch, 0.0, usage=0.55)
    params = {"w": jnp.ones(3), "price": jnp.float32(2)}
    state, _ = after(0, longest, params=params, model__budget__multiplier_rate=0.6)
    assert float(state.params["price"]) == pytest.approx(price)


@pytest.mark.parametrize(
    ("usage", "prices"),
    [(0.55, (2.03, 7.0)), (0.5, (2.0, 7.0)), (0.4, (1.94, 6.94)), (0.0, (1.7, 6.7))],
)
def test_repricing_moves_every_price_and_nothing_else(usage, prices):
    """Of all members, at any depth, and between 0 and the highest; a weight that moved too
    would drift without a gradient."""
    one, other = (jnp.float32(x) for x in (2.0, 7.0))
    params = {"price": one, "members": {"price": other, "w": jnp.ones(2)}, "prices": one}
    moved = step.repriced(params, jnp.float32(usage), PRICED, 0.5, 0.3)
    found = float(moved["price"]), float(moved["members"]["price"])
    assert found == pytest.approx(prices)
    assert moved["prices"] == one
    np.testing.assert_array_equal(moved["members"]["w"], jnp.ones(2))


def test_the_highest_price_is_that_of_the_model():
    """Either kind of model keeps its layers' sizes elsewhere."""
    layer = SimpleNamespace(highest_price=2.1)
    for model in (MocaNet(3, 1, layer), MocaClassifier(SimpleNamespace(layer=layer))):
        moved = step.repriced({"price": jnp.float32(2)}, jnp.float32(1), model, 0.5, 0.3)
        assert float(moved["price"]) == pytest.approx(2.1)


def test_weight_decay_and_gradients_leave_the_price_alone(monkeypatch):
    """Either would make compute cheaper than the budget has found it to be. Here usage is on
    target, so that the price rests, and three steps of training move all else."""
    Seen(monkeypatch, 0.0, usage=0.5)
    decay = {"train__weight_decay": 0.5, "train__learning_rate": 0.1}
    training = tiny.config(**decay).train
    params = {"w": jnp.ones(3), "price": jnp.float32(2)}
    optimize = optimizer.build_optimizer(training)
    moments = optimize.init(params)
    state = step.TrainState(jnp.int32(0), params, moments, jnp.float32(4), None, jnp.int32(0))
    for _ in range(3):
        state, _ = step.train_step(
            state, 0, (), (), PRICED, TASK, optimize, tiny.config(**decay)
        )
    assert state.params["price"] == 2
    assert (state.params["w"] < 0.9).all()


def built(workdir, **changes):
    """A state before the first step of a run without a curriculum, and the step."""
    config = tiny.config(data__first_longest=4, train__max_steps=1000, **changes)
    task = build.build_task(config, workdir)
    model, optimize = (
        build.build_model(config, task),
        optimizer.build_optimizer(config.train),
    )
    initial = partial(step.initial_train_state, model, task, optimize, config)
    advance = partial(
        step.train_step, model=model, task=task, optimizer=optimize, config=config
    )
    return model, initial, lambda state: advance(state, 0, (), ())


def test_usage_follows_the_target(tmp_path):
    """The claim of the budget: more than half of the full compute at first, then a fifth,
    whatever the task says. By hand from usage, the price at every step: no gradient, no weight
    decay and nothing else moves it."""
    changes = {"model__budget__target": 0.2, "model__budget__multiplier_rate": 1.0}
    changes |= {"train__learning_rate": 0.01, "train__batch_size": 8}
    _, initial, advance = built(tmp_path, model__budget__base_cost=0.1, **changes)
    state, usage, price = jax.jit(initial)(), [], 0.0
    advance = jax.jit(advance, compiler_options=QUICK)
    for _ in range(40):
        state, metrics = advance(state)
        assert float(metrics["price"]) == pytest.approx(price, abs=1e-5)
        usage.append(float(metrics["usage"]))
        price = max(price + min(max(usage[-1] / 0.2 - 1, -1), 1), 0)
    assert usage[0] > 0.5
    assert 0.15 < np.mean(usage[-10:]) <= 0.2
    assert all(0.1 < share < 0.3 for share in usage[-10:])


def test_a_training_step_costs_three_times_the_forward_pass(tmp_path):
    """As XLA counts it, updates of the parameters included, against the table that a run
    shows: a step that computes something twice would go unseen."""
    sizes = {"model__width": 256, "model__experts__hidden_dim": 512}
    sizes |= {"model__experts__capacity_factor": 1.0, "train__batch_size": 64}
    sizes |= {"model__experts__top_k": 2, "model__budget__target": 1.0}  # room for all
    model, initial, advance = built(tmp_path, **sizes)
    state = jax.eval_shape(initial)
    counted = jax.jit(advance).lower(state).cost_analysis()["flops"]
    updates = 30 * sum(leaf.size for leaf in jax.tree.leaves(state.params))
    costs = component_costs(model, state.params)
    tokens = 64 * TASK.num_steps(4)
    analytic = 3 * tokens * sum(cost.flops for cost in costs.values())
    assert updates < 0.02 * analytic
    assert counted == pytest.approx(analytic, rel=0.03)


def test_a_batch_is_a_function_of_seed_and_step(monkeypatch):
    """Otherwise a resumed run sees other data than an uninterrupted one."""
    seen = Seen(monkeypatch, 0.0)

    def drawn(number, seed):
        after(number, 4.0, seed=seed)
        return seen.batch, jax.tree.map(jax.random.key_data, seen.keys)

    one = drawn(3, 0)
    jax.tree.map(np.testing.assert_array_equal, one, drawn(3, 0))
    for batch, keys in (drawn(4, 0), drawn(3, 1)):
        assert (batch.tokens != one[0].tokens).any()
        for key, same in zip(keys, one[1], strict=True):
            assert (key != same).any()


def test_randomness_of_one_step_is_independent():
    """Otherwise dropout hides what noise disturbs, or a batch foretells both, or which experts
    are tried."""
    keys = [jax.random.key_data(key).tolist() for key in step.step_keys(0, jnp.int32(5))]
    assert len(set(map(tuple, keys))) == 4


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_a_compiled_step_draws_what_its_seed_says(seed):
    """As the host does, where the seed is a Python number; one program serves all seeds."""
    traced = jax.jit(step.step_keys)(np.uint32(seed), jnp.int32(5))
    for key, same in zip(traced, step.step_keys(seed, jnp.int32(5)), strict=True):
        assert (key == same).all()


def test_programs_know_nothing_of_the_seed(tmp_path):
    """Otherwise every seed compiles anew."""

    def programs(seed):
        _, initial, advance = built(tmp_path, seed=seed)
        like = jax.eval_shape(initial)
        return jax.make_jaxpr(initial)(seed=0), jax.make_jaxpr(advance)(like)

    assert str(programs(1)) == str(programs(2))


@pytest.mark.parametrize("longest", [1.0, 2.0, 3.9])
def test_batches_hold_the_lengths_of_the_moment(monkeypatch, longest):
    """Otherwise the curriculum has no effect, or changes shapes and compiles at every step."""
    seen = Seen(monkeypatch, 0.0)
    after(0, longest, train__batch_size=64)
    assert set(seen.batch.length.tolist()) == set(range(1, int(longest) + 1))
    assert seen.batch.tokens.shape == (64, TASK.num_steps(4))


def test_a_running_average_by_hand():
    """Shares (1 + step)/(10 + step) of the old one, 0.1 and 2/11, and never above the decay:
    otherwise an average is still full of the first, untrained parameters."""
    old, new = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([11.0, 8.0])}
    shares = {(0, 0.9): 0.1, (1, 0.9): 2 / 11, (90, 0.5): 0.5, (90, 1.0): 0.91}
    for (number, decay), share in shares.items():
        average = step.running_average(old, new, jnp.int32(number), decay)
        np.testing.assert_allclose(average["w"], 11 - 10 * share + np.array([0, -3]), rtol=1e-6)


def test_a_running_average_goes_to_parameters_that_rest():
    """Otherwise what is evaluated stays behind for ever."""
    average, rest = {"w": jnp.full(2, 100.0)}, {"w": jnp.array([3.0, -3.0])}
    advance = jax.jit(step.running_average)
    for number in range(60):
        average = advance(average, rest, number, 0.8)
    np.testing.assert_allclose(average["w"], rest["w"], atol=1e-3)


def test_a_step_averages_what_it_has_just_updated(monkeypatch):
    """From 5, in the first step: 0.1 · 5 + 0.9 · 0.9; and that is what evaluation uses."""
    Seen(monkeypatch, 0.0)
    averaging = {"average": {"w": jnp.full(3, 5.0)}, "train__average_decay": 0.5}
    state, _ = after(0, 2.0, **averaging)
    np.testing.assert_allclose(state.params["w"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(state.average["w"], 0.5 + 0.81, rtol=1e-6)
    assert state.evaluated is state.average
    state, _ = after(0, 2.0)
    assert state.average is None
    assert state.evaluated is state.params


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_training_starts_with_an_average_where_the_config_asks_for_one(decay):
    """Of its own: a step gives its state's memory away, and no array can be given twice."""
    model = SimpleNamespace(init=lambda key, _: {"params": jax.random.normal(key, (3,))})
    config = tiny.config(train__average_decay=decay)
    start = jax.jit(partial(step.initial_train_state, model, TASK, SGD, config))
    state = start()
    assert float(state.longest) == TASK.first_longest
    assert (state.average is None) == (not decay)
    np.testing.assert_array_equal(state.evaluated, state.params)
    give_away = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    given = give_away(start())
    np.testing.assert_array_equal(given.evaluated, state.params + 1)


@pytest.mark.parametrize("average", [None, {"w": jnp.zeros(3)}])
def test_training_starts_from_given_parameters(average):
    """Otherwise pretrained word vectors are trained on, but the average begins without them."""
    params, given = {"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}
    state = step.TrainState(
        jnp.int32(0), params, SGD.init(params), jnp.float32(2), average, jnp.int32(0)
    )
    started = step.started_from(state, given)
    np.testing.assert_array_equal(started.params["w"], [0, 1, 2])
    np.testing.assert_array_equal(started.evaluated["w"], [0, 1, 2])
    assert (started.average is None) == (average is None)
    assert average is None or started.average["w"] is not started.params["w"]
    assert (int(started.step), float(started.longest)) == (0, 2)


def test_streams_are_independent():
    """Otherwise training draws what validation or the final evaluation measures on."""
    names = (random_streams.TRAIN, random_streams.INIT)
    names += (random_streams.VALIDATION, random_streams.TEST)
    streams = [random_streams.stream(seed, name) for seed in (0, 1) for name in names]
    keys = [jax.random.key_data(key).tolist() for key in streams]
    assert len(set(map(tuple, keys))) == 8


def test_noise_changes_controllers_and_nothing_else():
    """Otherwise training starts from memories or pointers that no sequence starts from."""
    controller = ControllerState(jnp.zeros((50, 40)))
    layer = LayerState(controller, jnp.ones(5), jnp.ones(3), jnp.ones((2, 2)))
    without = layer._replace(controller=None)
    state = ModelState((layer, without, layer))
    first, second, third = step.disturbed(state, jax.random.key(1), 0.5).layers
    for disturbed in (first, third):
        hidden = np.asarray(disturbed.controller.hidden)
        assert abs(hidden.mean()) < 0.05  # 2000 numbers: 0 ± 0.011
        assert abs(hidden.std() - 0.5) < 0.05  # 0.5 ± 0.008
    assert (first.controller.hidden != third.controller.hidden).any()
    assert second.controller is None
    for disturbed in (first, second, third):
        assert disturbed.counters is layer.counters
        assert disturbed.router is layer.router
        assert disturbed.memory is layer.memory


def test_no_noise_changes_nothing():
    state = ModelState((LayerState(ControllerState(jnp.arange(6.0)), None, None, None),))
    (layer,) = step.disturbed(state, jax.random.key(1), 0.0).layers
    np.testing.assert_array_equal(layer.controller.hidden, jnp.arange(6.0))


def decayed(workdir):
    """Names of decayed and of undecayed parameters of a model with every part."""
    config = tiny.config(
        model__memory__heads__ring__count=0,
        model__memory__heads__loop__count=1,
        model__memory__heads__content__count=1,
        model__memory__heads__association__count=1,
        model__memory__heads__priority_queue__count=1,
        model__controller__counters=(2, 3),
    )
    task = build.build_task(config, workdir)
    model = build.build_model(config, task)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), int))["params"]
    mask = optimizer.decay_mask(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    names = {True: set(), False: set()}
    for path, value in jax.tree_util.tree_leaves_with_path(mask):
        names[value].add(".".join(part.key for part in path).removeprefix("layers_0."))
    return names[True], names[False]


def test_weight_decay_shrinks_matrices_and_spares_scales_biases_and_slots(tmp_path):
    """Decay of a norm, a bias or a slot pulls it to a value that has no meaning."""
    matrices, others = decayed(tmp_path)
    assert matrices == {
        "embed.embedding",
        "controller.decay.kernel",
        "counters.turn.kernel",
        "counters.output.kernel",
        "router.write_gate.kernel",
        "router.read_gate.kernel",
        "controller.input.kernel",
        "experts.expand",
        "experts.contract",
        "memory.output.kernel",
        "memory.laps.kernel",
        "memory.value.kernel",
        "memory.order_value.kernel",
        "router.convolution",
        "router.association_key.kernel",
        "router.key_taps",
        "router.query_taps",
        "router.order_taps",
        "router.place_pointer.kernel",
        "router.rank.kernel",
        "router.expert.kernel",
        "router.read_pointer.kernel",
        "router.write_pointer.kernel",
        "router.read_query.kernel",
        "router.write_query.kernel",
        "router.retention.kernel",
        "router.strength.kernel",
    }
    endings = {name.split(".")[-1] for name in others}
    assert endings == {
        "scale",
        "bias",
        "fill",
        "ring_slots",
        "content_slots",
        "keys",
        "association_sharpness",
        "association_sink",
        "order_sink",
        "price",
    }


def test_weight_decay_shrinks():
    """A decay with the wrong sign grows parameters. Gradient 0, rate 0.1 after one step of
    warm-up, decay 0.5: 1 - 0.1 · 0.5."""
    training = tiny.config(train__weight_decay=0.5, train__learning_rate=0.1).train
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    optimize = optimizer.build_optimizer(training)
    moments = optimize.init(params)
    for _ in range(2):
        updates, moments = optimize.update(
            jax.tree.map(jnp.zeros_like, params), moments, params
        )
    stepped = optax.apply_updates(params, updates)
    np.testing.assert_allclose(stepped["kernel"], 0.95, rtol=1e-5)
    np.testing.assert_array_equal(stepped["bias"], params["bias"])


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    training = tiny.config(train__warmup_steps=2, train__learning_rate=0.4).train
    schedule = optimizer.learning_rate_schedule(training)
    rates = [float(schedule(number)) for number in range(tiny.STEPS + 1)]
    assert rates[:3] == pytest.approx([0.0, 0.2, 0.4])
    assert rates[5] == pytest.approx(0.04)
    assert rates[2:] == sorted(rates[2:], reverse=True)
