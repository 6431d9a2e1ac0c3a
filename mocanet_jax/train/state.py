"""What training carries from step to step, and the randomness of a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mocanet_jax.nn.models.protocol import Model, Trained
from mocanet_jax.nn.stack import ModelState
from mocanet_jax.runtime import random_streams
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.curriculum import CurriculumState


class TrainState(NamedTuple):
    """Everything that training carries from step to step.

    step: int32 [], updates made. params, opt_state: pytrees.
    multiplier: λ of the budget, float32 [], in logits.
    average: running average of params, or None where the config has none.
    skipped: int32 [], steps in a row whose loss or gradient was not finite, up to now.
    carried: states of the model, [B, …], that the next batch goes on from; None for a task
        whose batches have nothing to do with each other, or a model that sees a window.
    """

    step: jax.Array
    params: dict
    multiplier: jax.Array
    opt_state: optax.OptState
    curriculum: CurriculumState
    average: dict | None
    skipped: jax.Array
    carried: ModelState | None = None

    @property
    def trained(self) -> Trained:
        """What evaluation uses."""
        return Trained(self.params if self.average is None else self.average, self.multiplier)

    def with_params(self, params: dict) -> "TrainState":
        """A state before the first step, with other parameters."""
        average = None if self.average is None else jax.tree.map(jnp.copy, params)
        return self._replace(params=params, average=average)


class Keys(NamedTuple):
    """Randomness of one step: its batch, noise on first states, dropout, and the router's."""

    batch: jax.Array
    noise: jax.Array
    dropout: jax.Array
    router: jax.Array


def step_keys(seed: int | jax.Array, step: jax.Array) -> Keys:
    key = jax.random.fold_in(random_streams.stream(seed, random_streams.TRAIN), step)
    batch, noise = jax.random.split(key)
    return Keys(batch, noise, jax.random.fold_in(noise, 0), jax.random.fold_in(noise, 1))


def initial_params(model: Model, task: Task, seed: int | jax.Array = 0) -> dict:
    key = random_streams.stream(seed, random_streams.INIT)
    tokens = jnp.zeros((1, 2, *model.token_shape), jnp.int32)
    return model.init(key, tokens)["params"]


def initial_trained(model: Model, task: Task, seed: int | jax.Array = 0) -> Trained:
    """Fresh parameters and λ = 0."""
    return Trained(initial_params(model, task, seed), jnp.zeros((), jnp.float32))
