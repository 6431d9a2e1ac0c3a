"""The training step, as pure functions of the train state.

    loss = task loss + budget penalty + balance terms + quantisation penalty

Axes: B batch, T time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mocanet_jax.core import budget
from mocanet_jax.core.budget import BudgetConfig
from mocanet_jax.core.rows import taken
from mocanet_jax.nn.controller import ControllerState
from mocanet_jax.nn.models.protocol import Model
from mocanet_jax.nn.partition import split_batch
from mocanet_jax.nn.stack import ModelState, with_resets
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.accumulation import WHOLE, in_parts
from mocanet_jax.train.build import budget_config
from mocanet_jax.train.curriculum import Accuracies, Curriculum, hard_rows
from mocanet_jax.train.state import Keys, TrainState, initial_params, step_keys

LOSS_TERMS = ("task_loss", "budget_loss", "balance_loss", "z_loss", "quantisation_loss")
FINITE_TERMS = (*LOSS_TERMS, "gradient_norm")
"""Metrics that are checked when a step is not finite: the loss terms and the gradient norm."""


class StepSettings(NamedTuple):
    """What a step holds fixed while it differentiates: the hardness of the first sequences of
    the batch (train/curriculum.py), that of the others, and the multiplier, float []."""

    first_hardness: jax.Array
    hardness: jax.Array
    multiplier: jax.Array


class Inputs(NamedTuple):
    """batch: of the task, with tokens and mask. carried: states [B, …] that it goes on from,
    where it does not say reset; None for a batch that starts afresh."""

    batch: Any
    carried: ModelState | None = None


class Faults(NamedTuple):
    """Steps of one dispatch whose loss or gradient was not finite, and that changed nothing.

    count: int32 []. first: int32 [], the first of them, as a number of steps made; −1 for
    none. terms: name → bool [], which terms of its loss were not finite, and the gradient.
    """

    count: jax.Array
    first: jax.Array
    terms: dict[str, jax.Array]


@dataclass(frozen=True)
class Trainer:
    """The constants of training: model, task, optimizer and config."""

    model: Model
    task: Task
    optimizer: optax.GradientTransformation
    config: ConfigDict

    @cached_property
    def curriculum(self) -> Curriculum:
        return Curriculum(self.config.train.curriculum, self.task)

    @cached_property
    def budget(self) -> BudgetConfig:
        return budget_config(self.config.model)

    def initial_state(self, seed: int | jax.Array = 0) -> TrainState:
        """Fresh parameters of `seed`, before the first step."""
        return self.state_with(initial_params(self.model, self.task, seed))

    def state_with(self, params: dict) -> TrainState:
        """The state before the first step, with these parameters."""
        averaged = self.config.train.average_decay
        return TrainState(
            jnp.zeros((), jnp.int32),
            params,
            jnp.zeros((), jnp.float32),
            self.optimizer.init(params),
            self.curriculum.initial_state(),
            jax.tree.map(jnp.copy, params) if averaged else None,
            jnp.zeros((), jnp.int32),
            self._first_carried(params),
        )

    def with_new_streams(self, state: TrainState) -> TrainState:
        """For data that changed: what was carried is of another text."""
        return state._replace(carried=self._first_carried(state.params))

    def _first_carried(self, params) -> ModelState | None:
        """Of streams that begin, where batches go on from each other."""
        if not self.task.batches.carries_state or self.model.window is not None:
            return None
        size = self.config.train.batch_size
        return self.model.apply({"params": params}, size, method="initial_state")

    def loss(self, params, inputs: Inputs, keys: Keys, settings: StepSettings, share=WHOLE):
        """The loss that is differentiated, every term of it by name, and the state after it.

        share: Share of a larger batch, whose loss is the sum over its parts."""
        config, hardness = self.config.model, settings.hardness
        logits, aux, batch, after = self._forward(params, inputs, keys, settings)
        means = self.task.score(logits, batch).means()
        if self.curriculum.grows:
            means |= self._accuracies(logits, batch, means["accuracy"])
        base_cost = self.budget.base_cost * (
            1 + hardness * (config.budget.base_cost_when_grown - 1)
        )
        penalty = budget.penalty(aux, settings.multiplier, self.budget, base_cost)
        terms = {
            "budget_loss": penalty,
            "balance_loss": config.experts.balance_loss_weight * aux.balance_loss,
            "z_loss": config.experts.z_loss_weight * aux.z_loss,
            "quantisation_loss": config.memory.quantisation_penalty * hardness * aux.penalty,
        }
        loss = share.scored * means["task_loss"] + share.tokens * sum(terms.values())
        metrics = {"loss": loss, **means, **terms, **aux.usage.metrics()}
        tokens = jnp.sum(batch.mask, dtype=jnp.float32)
        metrics |= {"dropped": aux.dropped / tokens, "tokens": tokens}
        metrics["expected_usage"] = aux.expected_share
        return loss, (metrics, after if inputs.carried is not None else None)

    def _forward(self, params, inputs, keys, settings):
        """Logits of the steps that are scored, ModelAux, the batch as it is scored, and the
        next state."""
        variables, model, batch = {"params": params}, self.model, inputs.batch
        state = model.apply(variables, len(batch.tokens), method="initial_state")
        state = add_state_noise(state, keys.noise, self.config.train.state_noise)
        if inputs.carried is not None:
            # The gradient ends where a segment begins: truncated backpropagation in time.
            carried = jax.lax.stop_gradient(inputs.carried)
            state = with_resets(carried, state, batch.reset)
        positions, scored = self.task.scored_positions(batch)
        hardness = settings.hardness
        if self.curriculum.grows:
            is_first = jnp.arange(len(batch.tokens)) < hard_rows(len(batch.tokens))
            hardness = jnp.where(is_first, settings.first_hardness, hardness)
        run = {"train": True, "hardness": hardness, "multiplier": settings.multiplier}
        run["rngs"] = {"dropout": keys.dropout, "router": keys.router}
        given = (batch.tokens, state, batch.mask)
        if positions is None:
            logits, after, aux = model.apply(variables, *given, **run)
        else:
            x, after, aux = model.apply(variables, *given, **run, method="features")
            logits = model.apply(variables, taken(x, positions), method="logits")
        return logits, aux, scored, after

    def _accuracies(self, logits, batch, mean):
        """As metrics. mean: of all, which both are where the batch is too small."""
        rows = hard_rows(len(logits))
        if not rows:
            return {"soft_accuracy": mean, "hard_accuracy": mean}
        # Sums over rows, and no slices of them, which devices would have to exchange.
        alone = lambda row: self.task.score(*jax.tree.map(lambda x: x[None], row))
        scores, is_hard = jax.vmap(alone)((logits, batch)), jnp.arange(len(logits)) < rows
        own = {"hard_accuracy": is_hard, "soft_accuracy": ~is_hard}
        of = lambda rows: jax.tree.map(lambda x: jnp.sum(x * rows), scores)
        return {name: of(rows).means()["accuracy"] for name, rows in own.items()}

    def step(
        self, state: TrainState, seed: int | jax.Array, data, chosen
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update on the batch that (seed, step) determines, and its metrics.

        data, chosen: the task's training data, and what of it this step uses. Where loss or
        gradient is not finite, the update is skipped.
        """
        keys, curriculum = step_keys(seed, state.step), state.curriculum
        first = self.curriculum.first_hardness(curriculum)
        settings = StepSettings(first, curriculum.hardness, state.multiplier)

        def of_part(part, carried, keys, share):
            inputs = Inputs(split_batch(part), carried)
            differentiate = jax.grad(self.loss, has_aux=True)
            gradients, (metrics, after) = differentiate(
                state.params, inputs, keys, settings, share
            )
            return gradients, metrics, after

        def gradient(batch):
            parts = self.config.train.accumulate_steps
            return in_parts(of_part, split_batch(batch), state.carried, keys, parts)

        lengths = self.curriculum.lengths(curriculum)
        batch_size = self.config.train.batch_size
        gradients, metrics, after = self.task.batches.on_batch(
            gradient, data, chosen, keys.batch, batch_size, lengths
        )
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["multiplier"] = state.multiplier
        if self.curriculum.grows:
            metrics["longest"] = lengths[1].astype(jnp.float32)
            metrics["hardness"] = curriculum.hardness
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
        apply = lambda: self._apply_update(state, gradients, metrics)._replace(carried=after)

        def skip():  # the streams begin afresh: what they carried may be at fault
            fresh = self._first_carried(state.params)
            step, skipped = state.step + 1, state.skipped + 1
            return state._replace(step=step, skipped=skipped, carried=fresh)

        return jax.lax.cond(finite, apply, skip), metrics

    def _apply_update(self, state, gradients, metrics) -> TrainState:
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average, decay = state.average, self.config.train.average_decay
        if average is not None:
            average = running_average(average, params, state.step, decay)
        curriculum = state.curriculum
        if self.curriculum.grows:
            accuracies = Accuracies(metrics["soft_accuracy"], metrics["hard_accuracy"])
            curriculum = self.curriculum.update(curriculum, accuracies, state.multiplier)
        return state._replace(
            step=state.step + 1,
            params=params,
            multiplier=self._multiplier(state, curriculum, metrics["usage"]),
            opt_state=opt_state,
            curriculum=curriculum,
            average=average,
            skipped=jnp.zeros((), jnp.int32),
        )

    def _multiplier(self, state, curriculum, usage):
        """λ for the next step, 0 where the budget does not press."""
        if self.model.layer is None or not self.model.layer.dynamic:
            return state.multiplier
        rate = self.budget.multiplier_rate * curriculum.pace
        highest = self.model.layer.max_multiplier
        pressed = budget.update(state.multiplier, usage, self.budget, highest, rate)
        return jnp.where(curriculum.pressing, pressed, 0.0)

    def steps(
        self, state: TrainState, count: jax.Array, seed: jax.Array, data, chosen
    ) -> tuple[TrainState, dict[str, jax.Array], Faults]:
        """`count` training steps, int32 [], in one dispatch, and the means of their metrics
        over the steps that were finite, 0 where none was.

        chosen: for at least `count` steps, one after another along the first axis.
        On CPU a step inside a compiled loop takes about half the time of a step on its own.
        """

        def one_more(i, carry):
            state, sums, faults = carry
            now = jax.tree.map(lambda x: x[i], chosen)
            state, metrics = self.step(state, seed, data, now)
            faulty = state.skipped > 0
            sums = jax.tree.map(lambda s, m: s + jnp.where(faulty, 0, m), sums, metrics)
            return state, sums, _noted(faults, faulty, state.step, metrics)

        first = jax.tree.map(lambda x: x[0], chosen)
        _, metrics = jax.eval_shape(self.step, state, seed, data, first)
        sums = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)
        terms = dict.fromkeys(FINITE_TERMS, jnp.bool(False))
        start = (state, sums, Faults(jnp.int32(0), jnp.int32(-1), terms))
        state, sums, faults = jax.lax.fori_loop(0, count, one_more, start)
        learned = jnp.maximum(count - faults.count, 1)
        return state, jax.tree.map(lambda total: total / learned, sums), faults


def _noted(faults, faulty, step, metrics) -> Faults:
    """`faults` after one more step."""
    is_first = faulty & (faults.count == 0)
    terms = {
        name: jnp.where(is_first, ~jnp.isfinite(metrics[name]), flag)
        for name, flag in faults.terms.items()
    }
    return Faults(faults.count + faulty, jnp.where(is_first, step, faults.first), terms)


def add_state_noise(state: ModelState, key: jax.Array, scale: float) -> ModelState:
    """Adds normal noise to every controller's hidden state, if there are any.

    A long sequence leaves traces in the controller that short ones do not; a model that
    meets traces in training learns decisions that they cannot tip.
    """
    keys = iter(jax.random.split(key, len(state.layers)))
    is_controller = lambda x: isinstance(x, ControllerState)

    def add(part):
        if not is_controller(part):
            return part
        hidden = part.hidden
        noise = jax.random.normal(next(keys), hidden.shape, hidden.dtype)
        return ControllerState(hidden + scale * noise)

    return jax.tree.map(add, state, is_leaf=is_controller)


def running_average(average: dict, params: dict, step: jax.Array, decay: float) -> dict:
    """average ← d · average + (1 − d) · params, with d = min(decay, (1 + step)/(10 + step)),
    so that the first steps are forgotten soon (Polyak and Juditsky, 1992; the ramp is that
    of TensorFlow's ExponentialMovingAverage)."""
    d = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: d * old + (1 - d) * new, average, params)
