"""A batch in parts: the gradient of the whole, wherever sequences do not know of each other."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.task import TextBatch
from mocanet_jax.train import build
from mocanet_jax.train.accumulation import in_parts
from mocanet_jax.train.config.settings import check_settings
from mocanet_jax.train.state import initial_params, step_keys
from mocanet_jax.train.trainer import Inputs, StepSettings, Trainer
from tests.train import tiny

UNCOUPLED = {
    "model__experts__exploration": 0.0,
    "model__experts__balance_loss_weight": 0.0,
    "train__state_noise": 0.0,
    "train__batch_size": 8,
}
"""Nothing drawn for each part, and no term that is a product of means; λ is 0 at the start."""

OF_THEIR_PART = ("balance_loss", "load_of_expert_0", "load_of_expert_1")


@pytest.mark.parametrize("ablation", [pytest.param(None, marks=pytest.mark.slow), "fixed_topk"])
def test_parts_add_up_to_the_batch(ablation):
    """Otherwise the size of a part, which is for memory's sake, changes what is learned: parts
    have unlike numbers of scored steps and of tokens, so that a plain mean over them is not
    the mean over the batch. Memories, of one sequence each, are in the slow case alone."""
    config = tiny.config(ablation, **UNCOUPLED).unlock()
    config.model.experts.z_loss_weight = 0.5
    if ablation:
        config.model.memory.heads.ring.count = 0
    task = build.build_task(config, Path())
    model = build.build_model(config, task)
    params = jax.jit(lambda: initial_params(model, task))()
    trainer = Trainer(model, task, None, config)
    settings = StepSettings(jnp.float32(1), jnp.float32(1), jnp.float32(0))
    batch = jax.device_get(task.sample(jax.random.key(5), 8, (1, 4), 4))
    counts = batch.scored.sum(axis=1)
    assert len({int(counts[n::4].sum()) for n in range(4)}) > 1

    def gradient(part, state, keys, share):
        differentiate = jax.grad(trainer.loss, has_aux=True)
        gradients, (metrics, after) = differentiate(
            params, Inputs(part, state), keys, settings, share
        )
        return gradients, metrics, after

    keys = step_keys(0, jnp.int32(0))
    learn = jax.jit(partial(in_parts, gradient), static_argnums=3)
    gradients, metrics, _ = learn(batch, None, keys, 1)
    in_four, metrics_in_four, _ = learn(batch, None, keys, 4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), in_four, gradients
    )
    assert metrics_in_four.keys() == metrics.keys()
    for name, value in metrics.items():
        if name not in OF_THEIR_PART:
            assert float(metrics_in_four[name]) == pytest.approx(float(value), rel=1e-5), name
    assert float(metrics["loss"]) > 0


class Drawn(NamedTuple):
    one: jax.Array
    other: jax.Array


def test_parts_are_every_nth_sequence_with_keys_of_their_own():
    """Otherwise devices would exchange sequences for every part, or all parts would drop the
    same words. A text counts as much as another, however long."""
    mask = jnp.asarray(np.arange(3) < np.array([[1], [3], [2], [3], [1], [2]]))
    batch = TextBatch(jnp.arange(6)[:, None, None] * jnp.ones((1, 3, 1)), mask, jnp.arange(6))
    keys = Drawn(jax.random.key(1), jax.random.key(2))

    def gradient(part, state, keys, share):
        place = part.labels[0] % 2  # also which part this is
        seen = jnp.zeros((2, 3), int).at[place].set(part.labels)
        drawn = jnp.zeros((2, 2)).at[place].set(jnp.stack([*map(jax.random.uniform, keys)]))
        shares = jnp.zeros((2, 2)).at[place].set(jnp.stack([*map(jnp.float32, share)]))
        return (seen, drawn, shares), {"tokens": jnp.sum(part.mask)}, state + part.labels

    states = 10 * jnp.arange(6)
    (seen, drawn, shares), metrics, after = in_parts(gradient, batch, states, keys, 2)
    assert after.tolist() == [0, 11, 22, 33, 44, 55], "each state with its own sequence"
    assert seen.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert len(np.unique(drawn)) == 4
    np.testing.assert_allclose(shares, [[1 / 2, 4 / 12], [1 / 2, 8 / 12]])
    assert int(metrics["tokens"]) == 12


def test_a_whole_batch_keeps_its_keys():
    """Otherwise a run that was started before parts were possible does not go on as it would
    have."""
    keys = Drawn(jax.random.key(1), jax.random.key(2))
    kept = in_parts(lambda batch, state, keys, share: (keys, share), (), None, keys, 1)
    assert kept == (keys, (1, 1))


def test_a_batch_has_at_least_one_part():
    with pytest.raises(UserError, match=r"accumulate_steps must be at least 1, not 0"):
        check_settings(tiny.config(train__accumulate_steps=0))
