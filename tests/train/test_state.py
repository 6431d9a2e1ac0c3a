"""The train state: what it starts as, what of it is evaluated, and the randomness of a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime import random_streams
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.state import TrainState, step_keys


def state(params, average=None):
    curriculum = CurriculumState(*(jnp.float32(0) for _ in CurriculumState._fields))
    zero = jnp.int32(0)
    return TrainState(zero, params, jnp.float32(2.5), (), curriculum, average, zero)


@pytest.mark.parametrize("average", [None, {"w": jnp.zeros(3)}])
def test_training_starts_from_given_parameters(average):
    """Otherwise pretrained word vectors are trained on, but the average begins without them."""
    started = state({"w": jnp.ones(3)}, average).with_params({"w": jnp.arange(3.0)})
    np.testing.assert_array_equal(started.params["w"], [0, 1, 2])
    np.testing.assert_array_equal(started.trained.params["w"], [0, 1, 2])
    assert (started.average is None) == (average is None)
    assert average is None or started.average["w"] is not started.params["w"]


def test_evaluation_uses_the_average_where_there_is_one_and_the_multiplier():
    """λ is what gates are held against: without it usage is another in evaluation."""
    plain = state({"w": jnp.ones(1)})
    assert plain.trained.params is plain.params
    averaged = state({"w": jnp.ones(1)}, {"w": jnp.zeros(1)})
    assert averaged.trained.params is averaged.average
    assert float(averaged.trained.multiplier) == 2.5


def test_randomness_of_one_step_is_independent():
    """Otherwise dropout hides what noise changes, or a batch foretells both, or which experts
    are tried."""
    keys = [jax.random.key_data(key).tolist() for key in step_keys(0, jnp.int32(5))]
    assert len(set(map(tuple, keys))) == 4


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_a_compiled_step_draws_what_its_seed_says(seed):
    """As the host does, where the seed is a Python number; one program serves all seeds."""
    traced = jax.jit(step_keys)(np.uint32(seed), jnp.int32(5))
    for key, same in zip(traced, step_keys(seed, jnp.int32(5)), strict=True):
        assert (key == same).all()


def test_streams_are_independent():
    """Otherwise training draws what validation or the final evaluation measures on."""
    names = (random_streams.TRAIN, random_streams.INIT)
    names += (random_streams.VALIDATION, random_streams.TEST)
    streams = [random_streams.stream(seed, name) for seed in (0, 1) for name in names]
    keys = [jax.random.key_data(key).tolist() for key in streams]
    assert len(set(map(tuple, keys))) == 8
