"""One training step and one evaluation step, as pure functions.

    loss = task loss + λ · budget penalty + balance terms

Axes: B batch, T time.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.nn.model import MocaNet, ModelState
from mocanet_jax.tasks.task import Batch, Scores, Task, score

TRAIN_STREAM, INIT_STREAM, VALIDATION_STREAM, TEST_STREAM = range(4)


class TrainState(NamedTuple):
    """Everything that training carries from step to step.

    step: int32 [], updates made. params, opt_state: pytrees.
    longest: float32 [], the longest length that training draws at present.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    longest: jax.Array


class Evaluated(NamedTuple):
    """Sums over one batch. dropped: expert choices without room, float []."""

    scores: Scores
    usage: budget.Usage
    dropped: jax.Array


def stream(seed: int, name: int) -> jax.Array:
    """The key of one of the independent streams of randomness that a seed gives."""
    return jax.random.fold_in(jax.random.key(seed), name)


def initial_train_state(
    model: MocaNet, task: Task, optimizer: optax.GradientTransformation, seed: int
) -> TrainState:
    tokens = jnp.zeros((1, 2), jnp.int32)
    params = model.init(stream(seed, INIT_STREAM), tokens)["params"]
    return TrainState(
        jnp.zeros((), jnp.int32),
        params,
        optimizer.init(params),
        jnp.full((), task.first_longest, jnp.float32),
    )


def total_loss(params, model: MocaNet, batch: Batch, noise_key, rounding, config: ConfigDict):
    """The loss that is differentiated, and every term of it by name.

    noise_key: of the noise on the controllers' first state. rounding: of pointer shifts.
    """
    variables, weights = {"params": params}, config.model
    state = model.apply(variables, len(batch.tokens), method="initial_state")
    state = disturbed(state, noise_key, config.training.state_noise)
    logits, _, aux = model.apply(
        variables, batch.tokens, state, batch.mask, train=True, rounding=rounding
    )
    scores = score(logits, batch)
    means = scores.means()
    terms = {
        "budget_loss": weights.budget_loss_weight
        * budget.penalty(aux.usage.shares()["total"], weights.target_budget),
        "balance_loss": weights.balance_loss_weight * aux.balance_loss,
        "z_loss": weights.z_loss_weight * aux.z_loss,
    }
    loss = means["task_loss"] + sum(terms.values())
    metrics = {"loss": loss, **means, **terms, **aux.usage.metrics()}
    metrics["dropped"] = aux.dropped / jnp.sum(batch.mask)
    return loss, metrics


def disturbed(state: ModelState, key: jax.Array, scale: float) -> ModelState:
    """Adds normal noise to every controller's hidden state.

    A long sequence leaves traces in the controller that short ones do not; a model that
    meets traces in training learns decisions that they cannot tip.
    """

    def disturb(layer, key):
        if layer.controller is None:
            return layer
        hidden = layer.controller.hidden
        hidden += scale * jax.random.normal(key, hidden.shape, hidden.dtype)
        return layer._replace(controller=layer.controller._replace(hidden=hidden))

    keys = jax.random.split(key, len(state.layers))
    return ModelState(tuple(map(disturb, state.layers, keys)))


def train_step(
    state: TrainState,
    model: MocaNet,
    task: Task,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on the batch that (seed, step) determines, and its metrics.

    Curriculum: lengths are uniform on [shortest, longest]; `longest` is multiplied by a
    factor, plus one, after every step whose accuracy passes the threshold, up to the task's
    own. Pointers are soft while it grows, since a search needs slopes; then they move by
    whole slots, as they do in evaluation.
    """
    training = config.training
    key = jax.random.fold_in(stream(config.seed, TRAIN_STREAM), state.step)
    batch_key, noise_key = jax.random.split(key)
    lengths = (training.shortest, state.longest.astype(jnp.int32))
    batch = task.sample(batch_key, training.batch_size, lengths, task.longest)
    rounding = (state.longest >= task.longest).astype(jnp.float32)
    gradients, metrics = jax.grad(total_loss, has_aux=True)(
        state.params, model, batch, noise_key, rounding, config
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    grown = jnp.minimum(state.longest * training.curriculum_growth + 1, task.longest)
    longest = jnp.where(
        metrics["accuracy"] >= training.curriculum_accuracy, grown, state.longest
    )
    metrics |= {
        "gradient_norm": optax.tree.norm(gradients),
        "longest": lengths[1].astype(jnp.float32),
        "tokens": jnp.sum(batch.mask, dtype=jnp.float32),
    }
    return TrainState(state.step + 1, params, opt_state, longest), metrics


def train_steps(
    state: TrainState,
    count: jax.Array,
    model: MocaNet,
    task: Task,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """`count` training steps, int32 [], in one dispatch, and the means of their metrics.

    On CPU a step inside a compiled loop takes about half the time of a step on its own.
    """
    step = partial(train_step, model=model, task=task, optimizer=optimizer, config=config)

    def one_more(_, carry):
        state, sums = carry
        state, metrics = step(state)
        return state, jax.tree.map(jnp.add, sums, metrics)

    _, metrics = jax.eval_shape(step, state)
    sums = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)
    state, sums = jax.lax.fori_loop(0, count, one_more, (state, sums))
    return state, jax.tree.map(lambda total: total / count, sums)


def eval_step(params, model: MocaNet, batch: Batch, num_slots: int | None) -> Evaluated:
    """Scores of one batch with whole-slot pointers and no dropped tokens.

    num_slots: slots of the memory, None for the trained number.
    """
    variables = {"params": params}
    state = model.apply(variables, len(batch.tokens), num_slots, method="initial_state")
    logits, _, aux = model.apply(variables, batch.tokens, state, batch.mask)
    return Evaluated(score(logits, batch), aux.usage, aux.dropped.astype(jnp.float32))
