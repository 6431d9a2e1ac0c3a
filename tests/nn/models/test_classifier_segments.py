"""Texts that are read in segments with the state carried on: what reads forwards sees what it
would see of a whole text; what reads from the end sees each segment by itself.

Axes: N members, B batch, T time, D width.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.pooling import empty_pool, pooled, vector
from tests.nn.models.classifiers import (
    MASK,
    B,
    T,
    classifier,
    random_params,
    random_tokens,
    run,
    shapes,
)

SEGMENT = classifier("in segments").spec.segment
in_float64 = pytest.mark.usefixtures("float64")


def test_parameters_are_those_of_whole_texts():
    """Otherwise a checkpoint reads texts in one way alone."""
    chex.assert_trees_all_equal(shapes("in segments"), shapes("both"))


@in_float64
def test_reading_forwards_is_as_of_a_whole_text():
    """Decisions, state, what was spent, and what each word did; texts end in every segment."""
    expected, found = (run(kind, random_tokens(), MASK) for kind in ("one", "one in segments"))
    chex.assert_trees_all_close(found[:2], expected[:2], atol=1e-9)
    whole, parts = expected[2], found[2]
    for name in ("usage", "expected_share"):
        chex.assert_trees_all_close(getattr(parts, name), getattr(whole, name), rtol=1e-9)
    live = lambda x: x[:, MASK] if x.ndim > 2 else x  # [N, B, T, …]
    for part, one in zip(parts.layers, whole.layers, strict=True):
        # A state holds pointers as places in the memory, where traces count on.
        did = [jax.tree.map(live, x.memory._replace(traces=())) for x in (part, one)]
        chex.assert_trees_all_close(*did, atol=1e-9)
        chex.assert_trees_all_equal(live(part.experts.indices), live(one.experts.indices))


@in_float64
def test_gradients_are_those_of_a_whole_text():
    """Through every segment, the first one too."""
    params, tokens = random_params("one"), random_tokens()
    chosen = np.random.default_rng(1).normal(size=(1, B, 3))

    def gradient(kind):
        def loss(params):
            logits, _, _ = classifier(kind).apply(params, tokens, None, MASK)
            return jnp.sum(logits * chosen)

        return jax.jit(jax.grad(loss))(params)

    chex.assert_trees_all_close(gradient("one in segments"), gradient("one"), atol=1e-9)


@in_float64
def test_reading_from_the_end_sees_its_segment_alone():
    """In the order of whole texts: time runs backwards, from the last word to the first."""
    tokens = random_tokens()
    experts = run("in segments", tokens)[2].layers[0].expert_logits
    for start in range(0, T, SEGMENT):
        words = tokens[:, start : start + SEGMENT]
        alone = run("both", words)[2].layers[0].expert_logits[:, B:]
        end = T - start
        found = experts[:, B:, end - words.shape[1] : end]
        np.testing.assert_allclose(found, alone, atol=1e-9)


@in_float64
def test_padding_changes_nothing():
    """A segment may hold nothing else."""
    tokens = random_tokens()
    found = run("in segments", tokens, MASK)[0][:, 2]
    np.testing.assert_allclose(found, run("both", tokens[2:, :2])[0][:, 0], atol=1e-9)


def test_a_pool_is_the_mean_the_maximum_and_the_attended_mean():
    features = jnp.array([[[1.0, -2.0], [3.0, 5.0], [100.0, 100.0]]])
    scores = jnp.log(jnp.array([[[1.0], [3.0], [7.0]]]))
    live = jnp.array([[[True], [True], [False]]])
    whole = pooled(empty_pool(1, 2), features, scores, live)
    np.testing.assert_allclose(vector(whole), [[2, 1.5, 3, 5, 2.5, 3.25]], rtol=1e-6)
    parts = empty_pool(1, 2)
    for t in range(3):
        now = slice(t, t + 1)
        parts = pooled(parts, features[:, now], scores[:, now], live[:, now])
    chex.assert_trees_all_close(parts, whole, rtol=1e-6)


def test_memory_of_training_is_that_of_a_segment():
    """What length may cost is time."""
    params = random_params("in segments")
    tokens = random_tokens(length=128 * SEGMENT)

    def bytes_of(kind):
        def loss(params):
            rngs = {"dropout": jax.random.key(0), "router": jax.random.key(1)}
            return jnp.sum(classifier(kind).apply(params, tokens, train=True, rngs=rngs)[0])

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of("in segments") < 0.5 * bytes_of("both")
