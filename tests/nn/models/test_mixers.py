"""Each mixer of a baseline against its definition in numpy.

Axes: B batch, T time.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn import lstm
from mocanet_jax.nn.models import deltanet, transformer
from tests.nn.models.test_baseline import SPECS


def mixer(spec, length=5):
    """The output of a mixer with random parameters on [1, length, D], all of it from its
    fresh state; its input, and its parameters as numpy arrays."""
    module, rng = spec.mixer(), np.random.default_rng(0)
    z, mask = rng.normal(size=(1, length, spec.width)), jnp.ones((1, length), bool)
    start = module.initial_state(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), z, mask, start)["params"]
    params = jax.tree.map(lambda x: 0.5 * rng.normal(size=x.shape), shapes)
    output, _ = jax.jit(module.apply)({"params": params}, z, mask, start)
    return output[0], z[0], params


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.usefixtures("float64")
def test_an_lstm_by_hand():
    output, z, params = mixer(SPECS["lstm"])
    hidden = cell = np.zeros(8)
    for t, x in enumerate(z):
        gates = x @ params["input"]["kernel"] + params["input"]["bias"]
        i, f, g, o = np.split(gates + hidden @ params["recurrent"], 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        np.testing.assert_allclose(output[t], hidden, atol=1e-12)


def test_an_lstm_starts_out_remembering():
    """With a forget gate of σ(0) = ½ a gradient halves at every step back."""
    bias = lstm._remembering(jax.random.key(0), (4 * 8,))
    np.testing.assert_array_equal(bias.reshape(4, 8), np.outer([0, 1, 0, 0], np.ones(8)))
    recurrent = lstm._orthogonal(jax.random.key(0), (8, 4 * 8))
    for gate in np.split(np.asarray(recurrent), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_attention_by_hand():
    """One token and head at a time; pairs of numbers turned as complex numbers."""
    output, z, params = mixer(SPECS["transformer"])
    qkv = (z @ params["input"]["kernel"]).reshape(len(z), 3, 2, 4)

    def turned(x, position):
        pairs = x[:2] + 1j * x[2:]
        return pairs * np.exp(1j * position * np.array([1.0, 10_000**-0.5]))

    for t in range(len(z)):
        heads = []
        for h in range(2):
            query = turned(qkv[t, 0, h], t)
            scores = [
                np.vdot(turned(qkv[s, 1, h], s), query).real / np.sqrt(4) for s in range(t + 1)
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            heads.append(weights @ qkv[: t + 1, 2, h])
        expected = np.concatenate(heads) @ params["output"]["kernel"]
        np.testing.assert_allclose(output[t], expected, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_rotary_products_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 1, 1, 6))

    def product(at_query, at_key):
        turned = [
            transformer.rotated(jnp.asarray(x), jnp.array([[at]]))
            for x, at in ((query, at_query), (key, at_key))
        ]
        return float(jnp.vdot(*turned))

    assert product(0, 0) == pytest.approx(np.vdot(query, key))
    assert product(107, 104) == pytest.approx(product(3, 0), rel=1e-9)
    assert product(3, 0) != pytest.approx(product(4, 0), rel=1e-3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["deltanet", "recurrent deltanet"])
def test_a_gated_delta_net_by_hand(name):
    """Token by token: convolution over four tokens, unit keys, gates, and the rule itself."""
    output, z, params = mixer(SPECS[name])
    silu = lambda x: x * sigmoid(x)
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    linear = lambda name: z @ params[name]["kernel"]
    channels = np.concatenate([np.zeros((3, 22)), linear("input")])
    rate = np.exp(params["log_rate"])
    held = np.zeros((2, 3, 5))
    for t in range(len(z)):
        mixed = silu((channels[t : t + 4] * params["convolution"]).sum(axis=0))
        q, k, v = (x.reshape(2, -1) for x in np.split(mixed, [6, 12]))
        q, k = unit(q) / np.sqrt(3), unit(k)
        beta = sigmoid(linear("strength")[t])
        step = np.log1p(np.exp(linear("decay")[t] + params["decay"]["bias"]))
        held = np.exp(-rate * step)[:, None, None] * held
        found = np.einsum("hs,hsp->hp", k, held)
        held = held + np.einsum("h,hs,hp->hsp", beta, k, v - found)
        read = np.einsum("hs,hsp->hp", q, held)
        read /= np.sqrt((read**2).mean(axis=-1, keepdims=True) + 1e-6)
        read = (read * params["norm"]["scale"]).reshape(-1) * silu(linear("gate")[t])
        expected = read @ params["output"]["kernel"]
        np.testing.assert_allclose(output[t], expected, rtol=1e-4, atol=1e-5)


def test_a_gated_delta_net_starts_with_retentions_of_many_lengths():
    key = jax.random.key(0)
    step = jax.nn.softplus(deltanet._step_start(key, (1000,)))
    rate = jnp.exp(deltanet._log_rate_start(key, (1000,)))
    for found, low, high in ((step, 1e-3, 1e-1), (rate, 1.0, 16.0)):
        np.testing.assert_allclose([found.min(), found.max()], [low, high], rtol=0.05)
    np.testing.assert_allclose(np.median(step), 1e-2, rtol=0.2)
