"""bfloat16 activations: what has 16 bits, what keeps 32, and that little is lost."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.precision import full, product
from mocanet_jax.nn.config import AutomataConfig
from mocanet_jax.nn.heads import Association, Content, PriorityQueue, Ring
from mocanet_jax.nn.models.classifier import MocaClassifier
from tests.nn import small
from tests.nn.models import test_classifier

TOKENS = small.random_tokens(3, 7)
PARTS = {
    "heads": (Ring(1), Content(1), Association(1), PriorityQueue(1)),
    "counters": (2, 3),
    "automata": AutomataConfig(2, 3, 4),
}
STEADY = {"routing": "topk", "top_k": 3, "heads": (Ring(1, sharpness=0.7),)}
"""No choice among experts or slots that a rounding of inputs could tip."""


def sequence_model(activations):
    return small.model(1, **PARTS, dtype=activations), TOKENS


def classifier(activations):
    spec = test_classifier.classifier("both").spec
    layer = replace(spec.layer, dtype=activations)
    return MocaClassifier(replace(spec, layer=layer)), test_classifier.random_tokens()


def test_products_take_half_and_add_up_in_full():
    """256 ones and a half: a sum of 16 bits would stay at 256."""
    x, kernel = jnp.ones((2, 257), jnp.bfloat16), jnp.ones((257, 1)).at[0].set(0.5)
    assert product(x, kernel).dtype == jnp.float32
    np.testing.assert_array_equal(product(x, kernel), 256.5)
    assert full(jnp.ones(1, jnp.bfloat16)).dtype == full(jnp.ones(1)).dtype == jnp.float32


@pytest.mark.usefixtures("float64")
def test_full_keeps_what_has_more():
    assert full(jnp.ones(1)).dtype == product(jnp.ones((1, 1)), jnp.ones((1, 1))).dtype
    assert full(jnp.ones(1)).dtype == jnp.float64


@pytest.mark.parametrize("kind", [sequence_model, classifier])
def test_states_and_decisions_keep_32_bits(kind):
    """Otherwise pointers stand between slots, memories lose digits at every write, and a run
    cannot go on with the other type."""
    (net, tokens), (plain, _) = kind("bfloat16"), kind("float32")
    run = lambda net, key: net.init_with_output(key, tokens)
    (logits, state, aux), params = jax.eval_shape(lambda k: run(net, k), jax.random.key(0))
    expected, expected_params = jax.eval_shape(lambda k: run(plain, k), jax.random.key(0))
    for one, other in (((logits, state, aux), expected), (params, expected_params)):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        assert [x.dtype for x in jax.tree.leaves(one)] == [
            x.dtype for x in jax.tree.leaves(other)
        ]


def products(jaxpr):
    """Every matrix product in it, those of its parts too."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found.append(equation)
        for part in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                found += products(part)
    return found


@pytest.mark.parametrize("activations", ["float32", "bfloat16"])
def test_products_with_parameters_have_the_requested_type(activations):
    """Controller, router, memory, experts and head: otherwise nothing is saved. What is left
    is the router's convolution of keys, scores, and the memory's own sums."""
    net = small.model(num_layers=1, heads=(Ring(1),), dtype=activations)
    params = jax.eval_shape(net.init, jax.random.key(0), TOKENS)
    jaxpr = jax.make_jaxpr(lambda p: net.apply(p, TOKENS)[0])(params).jaxpr
    halves = [e for e in products(jaxpr) if all(v.aval.dtype == jnp.bfloat16 for v in e.invars)]
    # Two of the controller, one of the router, two of memory, three of experts and the head.
    assert len(halves) == (9 if activations == "bfloat16" else 0)


def test_logits_and_gradients_are_nearly_the_same():
    """Eight bits of mantissa: some per cent of a logit."""
    outputs = {}
    for activations in ("float32", "bfloat16"):
        net = small.model(1, **STEADY, dtype=activations)
        params = jax.tree.map(jnp.float32, small.random_params(net))
        outputs[activations] = small.compiled_gradient(net)(params, TOKENS, TOKENS >= 0, 0.0)
    (gradient, logits), (half_gradient, half_logits) = outputs["float32"], outputs["bfloat16"]
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    difference = np.linalg.norm(half_logits - logits) / np.linalg.norm(logits)
    assert 1e-4 < difference < 0.05
    one, other = flat(gradient), flat(half_gradient)
    assert one @ other > 0.99 * np.linalg.norm(one) * np.linalg.norm(other)
