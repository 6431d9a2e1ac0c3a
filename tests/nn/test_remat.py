"""Gradient checkpointing (rematerialisation) gives the same gradients."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.classifier import MocaClassifier
from tests.nn import small
from tests.nn.models import test_classifier

TOKENS = small.random_tokens(3, 7)


def sequence_model(remat):
    """With trials of experts, which must be the same ones when they are computed again."""
    return small.model(num_layers=2, exploration=0.5, remat=remat), TOKENS


def classifier(remat):
    spec = test_classifier.classifier("dropout").spec
    experts = replace(spec.layer.experts, exploration=0.5)
    layer = replace(spec.layer, experts=experts, remat=remat)
    return MocaClassifier(replace(spec, layer=layer)), test_classifier.random_tokens()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [sequence_model, classifier])
def test_gradients_are_those_of_layers_that_are_kept(kind):
    """With the same names of parameters, so that a run may go on with or without."""
    (kept, tokens), (again, _) = kind(False), kind(True)
    params = kept.init(jax.random.key(0), tokens)
    shapes = jax.eval_shape(again.init, jax.random.key(0), tokens)
    assert jax.tree.structure(shapes) == jax.tree.structure(params)
    keys = {"dropout": jax.random.key(1), "router": jax.random.key(2)}

    def gradient(net):
        def loss(params):
            logits = net.apply(params, tokens, train=True, rngs=keys)[0]
            return jnp.sum(jnp.sin(3 * logits))

        return jax.jit(jax.grad(loss), compiler_options=small.QUICK)

    one, other = gradient(kept)(params), gradient(again)(params)
    assert max(np.abs(x).max() for x in jax.tree.leaves(one)) > 0.01
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), other, one
    )


@pytest.mark.parametrize("remat", [False, True])
def test_layers_are_rematerialised_where_requested(remat):
    """Otherwise the setting saves no memory."""
    net, tokens = sequence_model(remat)
    shapes = jax.eval_shape(net.init, jax.random.key(0), tokens)
    keys = {"router": jax.random.key(2)}
    run = lambda params: net.apply(params, tokens, train=True, rngs=keys)[0]
    names = [equation.primitive.name for equation in jax.make_jaxpr(run)(shapes).eqns]
    assert names.count("checkpoint") + names.count("remat2") == (2 if remat else 0)
