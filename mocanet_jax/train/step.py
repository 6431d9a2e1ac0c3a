"""One training step, as a pure function.

    loss = task loss + charge for compute + balance terms

Axes: B batch, T time.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.nn.controller import ControllerState
from mocanet_jax.nn.models.protocol import Model
from mocanet_jax.nn.partition import split_batch
from mocanet_jax.nn.stack import ModelState
from mocanet_jax.runtime import random_streams
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.accumulation import WHOLE, Share, in_parts

LOSS_TERMS = ("task_loss", "budget_loss", "balance_loss", "z_loss", "commitment_loss")
FINITE_TERMS = (*LOSS_TERMS, "gradient_norm")
"""What is looked at when a step is not finite: the terms of the loss, and the gradient."""


class TrainState(NamedTuple):
    """Everything that training carries from step to step.

    step: int32 [], updates made. params, opt_state: pytrees.
    longest: float32 [], the longest length that training draws at present.
    average: running average of params, or None where the config asks for none.
    skipped: int32 [], steps in a row whose loss or gradient was not finite, up to now.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    longest: jax.Array
    average: dict | None
    skipped: jax.Array

    @property
    def evaluated(self) -> dict:
        """The parameters that evaluation uses."""
        return self.params if self.average is None else self.average


class Keys(NamedTuple):
    """Randomness of one step: its batch, noise on first states, and dropout."""

    batch: jax.Array
    noise: jax.Array
    dropout: jax.Array
    router: jax.Array


class Faults(NamedTuple):
    """Steps of one dispatch whose loss or gradient was not finite, and that changed nothing.

    count: int32 []. first: int32 [], the first of them, as a number of steps made; −1 for
    none. terms: name → bool [], which terms of its loss were not finite, and the gradient.
    """

    count: jax.Array
    first: jax.Array
    terms: dict[str, jax.Array]


def step_keys(seed: int | jax.Array, step: jax.Array) -> Keys:
    key = jax.random.fold_in(random_streams.stream(seed, random_streams.TRAIN), step)
    batch, noise = jax.random.split(key)
    return Keys(batch, noise, jax.random.fold_in(noise, 0), jax.random.fold_in(noise, 1))


def initial_params(model: Model, task: Task, seed: int | jax.Array = 0) -> dict:
    return model.init(random_streams.stream(seed, random_streams.INIT), task.example())[
        "params"
    ]


def initial_train_state(
    model: Model,
    task: Task,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    seed: int | jax.Array = 0,
) -> TrainState:
    """Fresh parameters of `seed`, before the first step."""
    params = initial_params(model, task, seed)
    return TrainState(
        jnp.zeros((), jnp.int32),
        params,
        optimizer.init(params),
        jnp.full((), task.first_longest, jnp.float32),
        jax.tree.map(jnp.copy, params) if config.train.average_decay else None,
        jnp.zeros((), jnp.int32),
    )


def started_from(state: TrainState, params: dict) -> TrainState:
    """A state before the first step, with other parameters."""
    average = None if state.average is None else jax.tree.map(jnp.copy, params)
    return state._replace(params=params, average=average)


def total_loss(
    params,
    model: Model,
    task: Task,
    batch,
    keys: Keys,
    rounding,
    config: ConfigDict,
    share: Share = WHOLE,
):
    """The loss that is differentiated, and every term of it by name.

    batch: of the task, with tokens and mask. rounding: of pointer shifts. share: of a larger
    batch, whose loss is the sum over its parts.
    """
    variables, weights = {"params": params}, config.model
    state = model.apply(variables, len(batch.tokens), method="initial_state")
    state = disturbed(state, keys.noise, config.train.state_noise)
    asked, batch = task.asked(batch)
    logits, _, aux = model.apply(
        variables,
        batch.tokens,
        state,
        batch.mask,
        train=True,
        rounding=rounding,
        rngs={"dropout": keys.dropout, "router": keys.router},
        **asked,
    )
    means = task.score(logits, batch).means()
    kept = 1 + rounding * (weights.budget.base_cost_when_grown - 1)
    terms = {
        "budget_loss": budget.charge(
            aux.expected_share,
            aux.usage.shares()["total"],
            weights.budget.target,
            aux.price,
            weights.budget.base_cost * kept,
        ),
        "balance_loss": weights.experts.balance_loss_weight * aux.balance_loss,
        "z_loss": weights.experts.z_loss_weight * aux.z_loss,
        "commitment_loss": weights.memory.quantisation_penalty * rounding * aux.indecision,
    }
    loss = share.scored * means["task_loss"] + share.tokens * sum(terms.values())
    metrics = {"loss": loss, **means, **terms, **aux.usage.metrics()}
    tokens = jnp.sum(batch.mask, dtype=jnp.float32)
    metrics |= {"dropped": aux.dropped / tokens, "tokens": tokens, "price": aux.price}
    metrics["expected_usage"] = aux.expected_share
    return loss, metrics


def disturbed(state: ModelState, key: jax.Array, scale: float) -> ModelState:
    """Adds normal noise to every controller's hidden state, if there are any.

    A long sequence leaves traces in the controller that short ones do not; a model that
    meets traces in training learns decisions that they cannot tip.
    """

    keys = iter(jax.random.split(key, len(state.layers)))

    def disturb(part):
        if not isinstance(part, ControllerState):
            return part
        hidden = part.hidden
        noise = jax.random.normal(next(keys), hidden.shape, hidden.dtype)
        return ControllerState(hidden + scale * noise)

    return jax.tree.map(disturb, state, is_leaf=lambda x: isinstance(x, ControllerState))


def train_step(
    state: TrainState,
    seed: int | jax.Array,
    data,
    chosen,
    model: Model,
    task: Task,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on the batch that (seed, step) determines, and its metrics.

    data, chosen: the task's training data, and what of it this step uses.

    Curriculum: lengths are uniform on [shortest, longest]; `longest` is multiplied by a
    factor, plus one, after every step whose accuracy passes the threshold, up to the task's
    own, and taken back by as much after one whose accuracy falls below another. Pointers are
    soft while it grows, since a search needs slopes; then they move by whole slots, as they do
    in evaluation, and the price of compute begins to adapt: first learn the task, then learn
    to do it for less. What is charged for compute whatever the
    target can be less from then on: it has closed what stood in the way, and what is left on
    is not to be lost.

    Where loss or gradient is not finite, nothing is learned from the batch.
    """
    training = config.train
    keys = step_keys(seed, state.step)
    lengths = (training.curriculum.shortest, state.longest.astype(jnp.int32))
    rounding = (state.longest >= task.longest).astype(jnp.float32)

    def of_part(part, keys, share):
        differentiate = jax.grad(total_loss, has_aux=True)
        part = split_batch(part)
        return differentiate(state.params, model, task, part, keys, rounding, config, share)

    def gradient(batch):
        return in_parts(of_part, split_batch(batch), keys, training.accumulate_steps)

    gradients, metrics = task.on_batch(
        gradient, data, chosen, keys.batch, training.batch_size, lengths
    )
    metrics["gradient_norm"] = optax.tree.norm(gradients)
    if task.first_longest < task.longest:
        metrics["longest"] = lengths[1].astype(jnp.float32)

    def learned(state, gradients):
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        rate = config.model.budget.multiplier_rate * rounding
        params = repriced(params, metrics["usage"], model, config.model.budget.target, rate)
        longest = next_longest(state.longest, metrics["accuracy"], task, training)
        average = state.average
        if average is not None:
            average = running_average(average, params, state.step, training.average_decay)
        return TrainState(
            state.step + 1, params, opt_state, longest, average, jnp.zeros((), jnp.int32)
        )

    def passed(state, gradients):
        return state._replace(step=state.step + 1, skipped=state.skipped + 1)

    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
    return jax.lax.cond(finite, learned, passed, state, gradients), metrics


def next_longest(
    longest: jax.Array, accuracy: jax.Array, task: Task, training: ConfigDict
) -> jax.Array:
    """The longest length to train on after a batch of this accuracy; float [], as all here."""
    growth = training.curriculum.growth
    grown = jnp.minimum(longest * growth + 1, task.longest)
    shrunk = jnp.maximum((longest - 1) / growth, task.first_longest)
    lost = accuracy < training.curriculum.retreat
    kept = jnp.where(lost, shrunk, longest)
    return jnp.where(accuracy >= training.curriculum.accuracy, grown, kept)


def repriced(
    params: dict, usage: jax.Array, model: Model, target: float, rate: jax.Array
) -> dict:
    """`params` with every λ moved after a step of this usage."""

    def move(path, leaf):
        if path[-1].key != "price":
            return leaf
        return budget.adapted_price(leaf, usage, target, rate, model.layer.highest_price)

    return jax.tree_util.tree_map_with_path(move, params)


def running_average(average: dict, params: dict, step: jax.Array, decay: float) -> dict:
    """average ← d · average + (1 − d) · params, with d = min(decay, (1 + step)/(10 + step)),
    so that the first steps are forgotten soon (Polyak and Juditsky, 1992; the ramp is that
    of TensorFlow's ExponentialMovingAverage)."""
    d = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: d * old + (1 - d) * new, average, params)


def train_steps(
    state: TrainState,
    count: jax.Array,
    seed: jax.Array,
    data,
    chosen,
    model: Model,
    task: Task,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
) -> tuple[TrainState, dict[str, jax.Array], Faults]:
    """`count` training steps, int32 [], in one dispatch, and the means of their metrics over
    the steps that were finite, 0 where none was.

    chosen: for at least `count` steps, one after another along the first axis.
    On CPU a step inside a compiled loop takes about half the time of a step on its own.
    """
    step = partial(train_step, model=model, task=task, optimizer=optimizer, config=config)

    def one_more(i, carry):
        state, sums, faults = carry
        state, metrics = step(state, seed, data, jax.tree.map(lambda x: x[i], chosen))
        faulty = state.skipped > 0
        sums = jax.tree.map(lambda s, m: s + jnp.where(faulty, 0, m), sums, metrics)
        is_first = faulty & (faults.count == 0)
        terms = {
            name: jnp.where(is_first, ~jnp.isfinite(metrics[name]), flag)
            for name, flag in faults.terms.items()
        }
        first = jnp.where(is_first, state.step, faults.first)
        return state, sums, Faults(faults.count + faulty, first, terms)

    first = jax.tree.map(lambda x: x[0], chosen)
    _, metrics = jax.eval_shape(step, state, seed, data, first)
    sums = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)
    none = Faults(jnp.int32(0), jnp.int32(-1), dict.fromkeys(FINITE_TERMS, jnp.bool(False)))
    state, sums, faults = jax.lax.fori_loop(0, count, one_more, (state, sums, none))
    learned = jnp.maximum(count - faults.count, 1)
    return state, jax.tree.map(lambda total: total / learned, sums), faults
