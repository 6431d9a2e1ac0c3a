"""The mixture of experts where all have room: each form must give what its definition gives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import dispatch
from mocanet_jax.core.dispatch import Gates


class ExpertWeights(NamedTuple):
    expand: np.ndarray
    bias: np.ndarray
    contract: np.ndarray


def apply(weights, x):
    """One expert."""
    bias = weights.bias.reshape((1,) * (x.ndim - 1) + (-1,))
    return jax.nn.relu(x @ weights.expand + bias) @ weights.contract


B, T, D, E, K, F = 2, 3, 4, 5, 2, 6


def with_weights_last(mix):
    return lambda x, gates, live, weights: mix(apply, weights, x, gates, live)


FORMS = {
    name: with_weights_last(getattr(dispatch, f"{name}_mixture"))
    for name in ("dense", "gathered")
}


def problem():
    """x, weights of gates, and weights of experts, float64; chosen experts; what is live."""
    rng = np.random.default_rng(0)
    of_experts = ExpertWeights(
        *(rng.normal(size=shape) for shape in ((E, D, F), (E, F), (E, F, D)))
    )
    indices = rng.permuted(np.tile(np.arange(E, dtype=np.int32), (B, T, 1)), axis=-1)[..., :K]
    live = rng.random((B, T, K)) < 0.7
    x, shares = rng.normal(size=(B, T, D)), rng.uniform(size=(B, T, K))
    return (x, shares, of_experts), indices, live


def naive(x, shares, of_experts, indices, live):
    output = np.zeros((B, T, D))
    for b, t, k in np.argwhere(live):
        expand, bias, contract = (part[indices[b, t, k]] for part in of_experts)
        hidden = np.maximum(x[b, t] @ expand + bias, 0)
        output[b, t] += shares[b, t, k] * (hidden @ contract)
    return output


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_the_mixture(form):
    """In value, and in its gradient along a random direction by central differences."""
    arguments, indices, live = problem()
    assert live.any()
    assert not live.all()
    rng = np.random.default_rng(1)
    target, by = rng.normal(size=(B, T, D)), 1e-6
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), arguments)

    def loss(arguments):
        x, shares, of_experts = arguments
        output = form(x, Gates(jnp.asarray(indices), shares), jnp.asarray(live), of_experts)
        return jnp.sum(output * target), output

    (_, output), gradient = jax.value_and_grad(loss, has_aux=True)(
        jax.tree.map(jnp.asarray, arguments)
    )
    np.testing.assert_allclose(output, naive(*arguments, indices, live), atol=1e-12)
    moved = [
        naive(
            *jax.tree.map(lambda x, d, s=s: x + s * by * d, arguments, direction), indices, live
        )
        for s in (1, -1)
    ]
    slope = np.sum((moved[0] - moved[1]) * target) / (2 * by)
    products = jax.tree.map(lambda g, d: np.sum(g * d), gradient, direction)
    assert sum(jax.tree.leaves(products)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(
    "change",
    [
        lambda x, gates, live, weights: (x[0], gates, live, weights),
        lambda x, gates, live, weights: (x[:, :2], gates, live, weights),
        lambda x, gates, live, weights: (x, gates, live[..., :1], weights),
        lambda x, gates, live, weights: (x, gates, live.astype(float), weights),
    ],
)
def test_wrong_shapes_and_types_are_refused(form, change):
    """Broadcasting or clamped indices would silently give a wrong mixture."""
    (x, shares, of_experts), indices, live = jax.tree.map(jnp.asarray, problem())
    right = (x, Gates(indices, shares), live, of_experts)
    form(*right)
    with pytest.raises(AssertionError):
        form(*change(*right))
