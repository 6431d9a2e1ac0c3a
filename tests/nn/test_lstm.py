"""An LSTM behind embeddings multiplies each kind of token once in training; the result is that
of multiplying every token.

Axes: B batch, T time, V vocabulary, D width.
"""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.nn.config import ControllerConfig
from mocanet_jax.nn.lstm import kinds_of
from mocanet_jax.nn.models.baseline import Baseline
from mocanet_jax.nn.models.lstm import LstmSpec
from mocanet_jax.nn.models.sequence import MocaNet
from tests.nn import small

WIDTH = 2 * small.VOCABULARY
LAYER = replace(
    small.layer(width=WIDTH, routing="topk"), controller=ControllerConfig(kind="lstm")
)
SPEC = LstmSpec(num_layers=2, width=WIDTH, mlp_dim=0, tied_head=True, dropout=0.0)
NETS = {
    "moca": MocaNet(
        small.VOCABULARY, 2, replace(LAYER, controller=ControllerConfig(kind="lstm"))
    ),
    "baseline": Baseline(small.VOCABULARY, SPEC),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NETS)
def test_training_and_evaluation_have_the_same_values_and_gradients(name):
    net = NETS[name]
    params, tokens = small.random_params(net), small.random_tokens(2, 7)
    mask = jnp.ones(tokens.shape, bool).at[1, 4:].set(False)

    def loss(params, train):
        logits, state, _ = net.apply(params, tokens, None, mask, train)
        log_p = jax.nn.log_softmax(logits)
        return jnp.mean(log_p[..., 3]) + sum(jnp.sum(x) for x in jax.tree.leaves(state.layers))

    run = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    chex.assert_trees_all_close(run(params, True), run(params, False), rtol=1e-9, atol=1e-9)


def test_kinds_are_used_in_training_with_fewer_of_them_than_features():
    tokens = jnp.zeros((2, 3), int)
    few, many = jnp.zeros((4, 5)), jnp.zeros((5, 5))
    assert kinds_of(few, tokens, train=True).features.shape == (4, 5)
    assert kinds_of(few, tokens, train=False) is None
    assert kinds_of(many, tokens, train=True) is None


def test_training_computes_less():
    net = NETS["baseline"].clone(spec=replace(SPEC, num_layers=1))
    tokens = jnp.zeros((2, 64), int)
    params = small.random_params(net)

    def flops(train):
        run = jax.jit(lambda p: net.apply(p, tokens, None, None, train)[0])
        return run.lower(params).cost_analysis()["flops"]

    assert flops(True) < flops(False)
