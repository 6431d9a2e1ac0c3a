"""The optimizer: its rate, and what it shrinks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mocanet_jax.nn.parameters import Declarations, shapes_and_declarations
from mocanet_jax.train import build, optimizer
from mocanet_jax.train.state import initial_params
from tests.train import tiny

UNDECLARED = Declarations()


def decayed(workdir):
    """Names of decayed and of undecayed parameters of a model with every part."""
    heads = {
        f"model__memory__heads__{kind}__count": 1
        for kind in ("loop", "content", "association", "priority_queue")
    }
    config = tiny.config(model__controller__counters=(2, 3), **heads)
    config.model.controller.automata.count = 2
    config.model.memory.heads.ring.count = 0
    task = build.build_task(config, workdir)
    model = build.build_model(config, task)
    params = jax.eval_shape(lambda: initial_params(model, task))
    _, declarations = shapes_and_declarations(initial_params, model, task)
    mask = optimizer.decay_mask(params, declarations)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    names = {True: set(), False: set()}
    for path, value in jax.tree_util.tree_leaves_with_path(mask):
        names[value].add(".".join(part.key for part in path).removeprefix("layers_0."))
    return names[True], names[False]


def test_weight_decay_shrinks_matrices_and_spares_scales_biases_and_slots(tmp_path):
    """Decay of a norm, a bias or a slot pulls it to a value that has no meaning."""
    matrices, others = decayed(tmp_path)
    last = lambda names: {name.split(".")[-1] for name in names}
    assert last(matrices) == {"embedding", "kernel", "taps", "key_taps", "query_taps"}
    assert last(others) == {
        "scale",
        "bias",
        "fill",
        "maps",
        "start_row",
        "start_rows",
        "keys",
        "sharpness",
        "sink",
    }


def test_weight_decay_shrinks():
    """A decay with the wrong sign grows parameters. Gradient 0, rate 0.1 after one step of
    warm-up, decay 0.5: 1 - 0.1 · 0.5."""
    training = tiny.config(train__weight_decay=0.5, train__learning_rate=0.1).train
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    optimize = optimizer.build_optimizer(training, UNDECLARED)
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
