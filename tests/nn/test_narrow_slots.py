"""Models whose slots have fewer bytes: what is carried, and that it does not depend on cuts.

Axes: B batch, T time.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.cache import CacheConfig
from mocanet_jax.nn.config import LayerConfig, MemoryConfig
from mocanet_jax.nn.heads import Association, Ring
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.summary import state_bytes, state_size
from tests.nn import small

B, T, S = 3, 12, 5
MASK = np.random.default_rng(5).random((B, T)) < 0.7


def of_bits(bits) -> MocaNet:
    """Keys and values of 4 numbers in two heads, and a cache with keys of 6."""
    memory = MemoryConfig((Association(2),), S, slot_bits=bits)
    return MocaNet(
        small.VOCABULARY,
        1,
        LayerConfig(8, None, memory, None),
        False,
        CacheConfig(4, 6, bits),
    )


@pytest.mark.parametrize(
    ("bits", "slot", "cached"),
    [(32, 2 * 4 * 4 + 4, 6 * 4), (8, 2 * (4 + 2) + 2, 6 + 2), (4, 2 * (2 + 2) + 2, 3 + 2)],
)
def test_bytes_of_a_state(bits, slot, cached):
    """7 tokens of 8 floats that a convolution sees; 2 heads of 5 slots, each with a key, a
    value and a strength, and a count each; of the cache a key, whether it is one, 4 slots with
    a token each, and a count. Numbers are no less for being narrow."""
    net = of_bits(bits)
    params = small.random_params(net)["params"]
    heads = 7 * 8 * 4 + 2 * S * slot + 2 * 4
    assert state_bytes(net, params) == heads + 6 * 4 + 1 + 4 * (cached + 4) + 4
    if bits == 32:
        assert state_size(net, params) == 7 * 8 + 2 * S * (2 * 4 + 1) + 6 + 4 * 6


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cuts", [(0, 5, 12), tuple(range(13))], ids=str)
@pytest.mark.parametrize("bits", [8, 4])
def test_segments_join_into_the_whole_sequence(bits, cuts):
    """A row is rounded once, and its own token finds it so. In double precision no number is
    near enough to the middle of two codes for the order of a sum to decide."""
    net = of_bits(bits)
    params, tokens = small.random_params(net), small.random_tokens(B, T)
    run, state = small.compiled(net, False, 1.0), small.compiled_start(net, B)(params)
    whole, expected, _ = run(params, tokens, state, MASK)
    joined, state = small.in_segments(partial(run, params), tokens, state, MASK, cuts)
    np.testing.assert_allclose(joined[MASK], whole[MASK], atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, expected)


@pytest.mark.usefixtures("float64")
def test_fewer_bits_change_what_is_read_a_little():
    """And the fewer, the more; not at all, they would not be in use."""
    params, tokens = small.random_params(of_bits(32)), small.random_tokens(B, T)
    outputs = {}
    for bits in (32, 8, 4):
        net = of_bits(bits)
        start = small.compiled_start(net, B)(params)
        outputs[bits] = small.compiled(net, False, 1.0)(params, tokens, start, MASK)[0][MASK]
    off = {bits: np.abs(outputs[bits] - outputs[32]).mean() for bits in (8, 4)}
    assert 0 < off[8] < 0.2 * off[4]
    assert off[8] < 0.01 * np.abs(outputs[32]).mean()


@pytest.mark.parametrize("bits", [0, 16, 5])
def test_other_bits_are_refused(bits):
    message = f"slot_bits must be one of 32, 8, 4, not {bits}"
    for config in (
        lambda: MemoryConfig((Ring(1),), slot_bits=bits),
        lambda: CacheConfig(4, 6, bits),
    ):
        with pytest.raises(ValueError, match=message):
            config()


def test_slots_that_change_keep_all_bits():
    """A ring's slots are written again and again, and would drift."""
    memory = MemoryConfig((Ring(1), Association(1)), S, slot_bits=8)
    net = MocaNet(small.VOCABULARY, 1, LayerConfig(8, None, memory, None))
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    ring, association = (
        jax.eval_shape(lambda params: net.apply(params, 1, method="initial_state"), shapes)
        .layers[0]
        .memory
    )
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(ring))
    assert association.entries.keys.codes.dtype == jnp.int8
