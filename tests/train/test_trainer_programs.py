"""The training step as a program: what it reaches, what it costs, and that seeds share it; and
what training starts from."""

import jax
import numpy as np
import pytest

from mocanet_jax.nn.summary import component_costs
from mocanet_jax.tasks.synthetic.copy import CopyTask
from mocanet_jax.train import loop
from tests.train import tiny

TASK = CopyTask(shortest=1, longest=4, first_longest=2)
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiling takes far longer than running."""


def built(workdir, **changes):
    """Trainer of a run without a curriculum."""
    config = tiny.config(data__first_longest=4, train__max_steps=1000, **changes)
    return loop.prepared(config, workdir).trainer


def test_usage_follows_the_target(tmp_path):
    """The claim of the budget: more than half of the full compute at first, then a fifth,
    whatever the task gains. By hand from usage, λ at every step: no gradient, no weight decay
    and nothing else moves it."""
    changes = {"model__budget__target": 0.2, "model__budget__multiplier_rate": 1.0}
    changes |= {"train__learning_rate": 0.01, "train__batch_size": 8}
    of = built(tmp_path, model__budget__base_cost=0.1, **changes)
    state, usage, multiplier = jax.jit(of.initial_state)(), [], 0.0
    advance = jax.jit(lambda state: of.step(state, 0, (), ()), compiler_options=QUICK)
    for _ in range(40):
        state, metrics = advance(state)
        assert float(metrics["multiplier"]) == pytest.approx(multiplier, abs=1e-5)
        usage.append(float(metrics["usage"]))
        multiplier = max(multiplier + min(max(usage[-1] / 0.2 - 1, -1), 1), 0)
    assert usage[0] > 0.5
    assert 0.15 < np.mean(usage[-10:]) <= 0.2
    assert all(0.1 < share < 0.3 for share in usage[-10:])


def test_a_training_step_costs_three_times_the_forward_pass(tmp_path):
    """As XLA counts it, updates of the parameters included, against the table that a run
    shows: a step that computes something twice would go unseen."""
    sizes = {"model__width": 256, "model__experts__hidden_dim": 512}
    sizes |= {"model__experts__capacity_factor": 1.0, "train__batch_size": 64}
    sizes |= {"model__experts__top_k": 2, "model__budget__target": 1.0}  # room for all
    of = built(tmp_path, **sizes)
    state = jax.eval_shape(of.initial_state)
    counted = jax.jit(lambda state: of.step(state, 0, (), ())).lower(state)
    counted = counted.cost_analysis()["flops"]
    updates = 30 * sum(leaf.size for leaf in jax.tree.leaves(state.params))
    costs = component_costs(of.model, state.params)
    analytic = 3 * 64 * TASK.num_steps(4) * sum(cost.flops for cost in costs.values())
    assert updates < 0.02 * analytic
    assert counted == pytest.approx(analytic, rel=0.03)


def test_programs_know_nothing_of_the_seed(tmp_path):
    """Otherwise every seed compiles again."""

    def programs(seed):
        of = built(tmp_path, seed=seed)
        like = jax.eval_shape(of.initial_state)
        one = lambda state: of.step(state, 0, (), ())
        return jax.make_jaxpr(of.initial_state)(0), jax.make_jaxpr(one)(like)

    assert str(programs(1)) == str(programs(2))


def test_training_starts_with_an_average_where_the_config_requests_one(tmp_path):
    """Of its own: a step gives its state's memory away, and no array can be given twice."""

    def start(decay):
        config = tiny.config("no_memory", train__average_decay=decay)
        return loop.prepared(config, tmp_path).trainer.initial_state

    assert jax.eval_shape(start(0.0)).average is None
    begin = jax.jit(start(0.9))
    state = begin()
    assert float(state.curriculum.longest) == 1
    same = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
    same(state.trained.params, state.params)
    give_away = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    given = give_away(begin())
    same(given.trained.params, jax.tree.map(lambda x: x + 1, state.params))
