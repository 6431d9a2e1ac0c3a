"""The classifier in training: every parameter learns, members differ, dropout is of training
alone.

Axes: N members, B batch, T time.
"""

from dataclasses import replace
from functools import lru_cache

import chex
import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.classifier import MocaClassifier
from tests.nn.models.classifiers import (
    MASK,
    QUICK,
    SHARES,
    N,
    classifier,
    random_params,
    random_tokens,
    shapes,
)

in_float64 = pytest.mark.usefixtures("float64")


@lru_cache
def compiled_gradient():
    """(params, key) → (gradient of a random loss on logits, logits) of training with dropout,
    jitted."""

    def loss(params, key):
        logits = classifier("dropout").apply(
            params, random_tokens(), None, MASK, True, 0.5, rngs={"dropout": key}
        )[0]
        target = np.random.default_rng(3).normal(size=logits.shape)
        return jnp.sum(logits * jnp.asarray(target, logits.dtype)), logits

    return jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)


def train(params, seed=0):
    return compiled_gradient()(params, jax.random.key(seed))


def check_gradient(params):
    """No part of any member is without a gradient."""
    gradient, _ = train(params)
    chex.assert_trees_all_equal_shapes(gradient, params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        moved = np.abs(leaf).reshape(N, -1).max(axis=1)
        assert (moved > 1e-6).all(), name


@in_float64
def test_every_parameter_is_trained():
    """A parameter whose gradient is zero is dead weight."""
    check_gradient(random_params("dropout"))


@lru_cache
def fresh():
    """The initial parameters of a bare model, as float32 numpy arrays."""
    with jax.enable_x64(False):
        start = jax.jit(classifier("bare").init, compiler_options=QUICK)
        return jax.device_get(start(jax.random.key(0), random_tokens(1, 2)))


@in_float64
def test_every_parameter_is_trained_from_the_start():
    """Zeros among the initial values could keep a part from learning. Those of the other parts
    of layers are tested with the sequence model."""
    params = random_params("dropout")["params"]["members"]
    start = jax.tree.map(np.float64, fresh()["params"]["members"])
    start["layers_0"] = params["layers_0"] | start["layers_0"]
    check_gradient({"params": {"members": start}})


def test_members_start_apart():
    """Members that start alike are one model at twice its cost."""
    members = fresh()["params"]["members"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(members):
        name = jax.tree_util.keystr(path)
        if not any(constant in name for constant in ("bias", "scale", "sharpness", "fill")):
            assert np.abs(leaf[0] - leaf[1]).max() > 1e-3, name


@in_float64
def test_training_is_a_pure_function_of_its_key():
    """A resumed run would differ, or every step drop the same numbers."""
    params = random_params("dropout")
    first, again, other = train(params), train(params), train(params, seed=1)
    chex.assert_trees_all_equal(first, again)
    assert (np.abs(first[1] - other[1]).max(axis=-1) > 1e-3).all()


@in_float64
def test_members_drop_different_numbers():
    """Members with one parameter in common would otherwise learn alike."""
    params = jax.tree.map(lambda x: np.stack([x[0], x[0]]), random_params("dropout"))
    _, logits = train(params)
    assert (np.abs(logits[0] - logits[1]).max(axis=-1) > 1e-3).all()


@pytest.mark.parametrize("name", SHARES)
def test_each_kind_of_dropout_is_of_training_only(name):
    """One that is not applied leaves its setting without effect; one in evaluation makes
    answers vary."""
    spec, tokens = replace(classifier("bare").spec, **{name: 0.5}), random_tokens()
    net = MocaClassifier(spec)
    jax.eval_shape(net.apply, shapes("bare"), tokens)
    trained = lambda params, **rngs: net.apply(params, tokens, train=True, **rngs)
    with pytest.raises(flax.errors.InvalidRngError):
        jax.eval_shape(trained, shapes("bare"))
    key = {"dropout": jax.random.key(0)}
    jax.eval_shape(lambda params: trained(params, rngs=key), shapes("bare"))


def test_training_without_dropout_needs_no_key():
    """An ablation without dropout would fail for want of randomness that it never uses."""
    net, tokens = classifier("bare"), random_tokens()
    jax.eval_shape(lambda params: net.apply(params, tokens, train=True), shapes("bare"))
