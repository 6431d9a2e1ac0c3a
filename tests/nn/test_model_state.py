"""The state of a model: segments, streaming, larger memories; and what training needs.

Axes: B batch, T time.
"""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.heads import Content, Ring, Stack
from tests.nn import small

B, T = 3, 8
each_routing = pytest.mark.parametrize(
    "routing", ["dynamic", pytest.param("topk", marks=pytest.mark.slow)]
)
MODES = {"eval": (False, 1.0), "train": (True, 0.5)}
MASK = np.array(
    [[1, 1, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]], bool
)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cuts", [(0, 4, 8), (0, 1, 5, 6, 7, 8), tuple(range(9))], ids=str)
@pytest.mark.parametrize(
    ("time", "mode", "routing"),
    [
        ("scan", "eval", "topk"),
        ("parallel", "train", "dynamic"),
        pytest.param("scan", "eval", "dynamic", marks=pytest.mark.slow),
        pytest.param("parallel", "train", "topk", marks=pytest.mark.slow),
    ],
)
def test_segments_join_into_the_whole_sequence(time, mode, cuts, routing):
    """State that is lost or counted twice between segments would break streaming, and
    truncated training; cuts fall beside masked steps, and into the convolution's window."""
    net = small.of_form(time, routing=routing)
    params, tokens = small.random_params(net), small.random_tokens(B, T)
    run = small.compiled(net, *MODES[mode])
    fresh = state = small.compiled_start(net, B)(params)
    whole, expected, _ = run(params, tokens, fresh, MASK)
    joined, state = small.in_segments(partial(run, params), tokens, state, MASK, cuts)
    np.testing.assert_allclose(joined[MASK], whole[MASK], atol=1e-9)
    chex.assert_trees_all_close(small.settled(state), small.settled(expected), atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_state_matters():
    """Segments would join trivially in a model that remembers nothing."""
    net = small.of_form("scan")
    params, tokens = small.random_params(net), small.random_tokens(B, T)
    run, fresh = small.compiled(net, False, 1.0), small.compiled_start(net, B)(params)
    everywhere = np.ones((B, T), bool)
    _, used, _ = run(params, tokens, fresh, everywhere)
    rng = np.random.default_rng(0)
    changed = jax.tree.map(lambda x: x + rng.uniform(0.5, 1, x.shape), used)
    before, after = (run(params, tokens, state, everywhere)[0] for state in (used, changed))
    assert np.abs(before - after)[:, 0].max() > 1e-3
    layer, other = used.layers[0], changed.layers[0]
    swaps = {"controller": layer._replace(controller=other.controller)}
    for n in range(2):
        heads = [*layer.memory]
        heads[n] = other.memory[n]
        swaps[f"head {n}"] = layer._replace(memory=tuple(heads))
    for name, first in swaps.items():
        swapped = used._replace(layers=(first, *used.layers[1:]))
        after = run(params, tokens, swapped, everywhere)[0]
        assert np.abs(before - after).max() > 1e-3, name


@pytest.mark.usefixtures("float64")
def test_a_fresh_state_is_the_default():
    """`state=None` and `mask=None` must mean a new sequence without padding."""
    net = small.of_form("scan")
    params, tokens = small.random_params(net), small.random_tokens(B, T)
    fresh = small.compiled_start(net, B)(params)
    run = small.compiled(net, False, 1.0)
    explicit, implicit = (
        run(params, tokens, *rest)[0] for rest in ((fresh, np.ones((B, T), bool)), (None, None))
    )
    np.testing.assert_allclose(explicit, implicit, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("time", ["scan", "parallel"])
@each_routing
def test_a_larger_memory_changes_nothing_until_it_is_needed(time, routing):
    """A model trained with S slots is run with more on longer sequences. Pointers move at
    most 7 slots ahead in 7 steps and touch one more: 9 suffice, which 14 steps outgrow."""
    net = small.model(1, time=time, routing=routing)
    params, run = small.random_params(net), small.compiled(net, False, 1.0)
    fresh = [small.compiled_start(net, B, slots)(params) for slots in (9, 13)]
    assert [s.layers[0].memory[0].memory.slots.shape[2] for s in fresh] == [9, 13]
    tokens = small.random_tokens(B, 14)

    def difference_and_reach(length):
        mask = np.broadcast_to(np.arange(14) < length, (B, 14))
        (trained, _, aux), (enlarged, _, _) = (run(params, tokens, s, mask) for s in fresh)
        (ring, _) = aux.layers[0].memory.traces
        positions = np.stack([ring.write_pointer, ring.read_pointer])
        assert positions.min() >= 0
        return np.abs(trained - enlarged)[mask].max(), positions.max()

    difference, reach = difference_and_reach(7)
    assert 4 <= reach <= 7
    assert difference < 1e-12
    difference, reach = difference_and_reach(14)
    assert reach > 8
    assert difference > 1e-3


def test_memory_cannot_be_reduced():
    """Content heads have a learned slot for each trained slot."""
    net = small.model()
    with pytest.raises(ValueError, match="enlarged beyond 9 slots, not reduced to 8"):
        jax.eval_shape(small.compiled_start(net, B, 8), small.random_params(net))


HEADS = {
    "ring": (Ring(2, sharpness=0.7),),
    "stack": (Stack(2, sharpness=0.7),),
    "content": (Content(2),),
    "mixed": small.EASY["heads"],
}


def heads_of(kind, **changes):
    return small.model(1, heads=HEADS[kind], **changes)


@pytest.mark.usefixtures("float64")
@each_routing
def test_time_forms_agree(routing):
    """A model trained on one machine must be the same model on another."""
    scan, parallel = (
        heads_of("mixed", time=time, routing=routing) for time in ("scan", "parallel")
    )
    params, tokens = small.random_params(scan), small.random_tokens(B, T)
    expected, got = (
        small.compiled_gradient(net)(params, tokens, MASK, 0.5) for net in (scan, parallel)
    )
    np.testing.assert_allclose(got[1][MASK], expected[1][MASK], atol=1e-9)
    chex.assert_trees_all_close(got[0], expected[0], rtol=1e-8, atol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("hardness", [0.5, 1.0])
@pytest.mark.parametrize("kind", HEADS)
@each_routing
def test_every_parameter_is_trained(kind, hardness, routing):
    """A parameter whose gradient is zero is dead weight. The loss is of the task alone."""
    net = heads_of(kind, routing=routing)
    check_gradient(net, small.random_params(net), hardness)


@each_routing
@pytest.mark.usefixtures("float64")
def test_every_parameter_is_trained_from_the_start(routing):
    """Zeros and saturated gates among the initial values could keep a part from learning."""
    net = heads_of("mixed", routing=routing)
    with jax.enable_x64(False):
        params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 2), int))
    check_gradient(net, jax.tree.map(np.float64, params), 0.5)


def check_gradient(net, params, hardness):
    tokens = small.random_tokens(B, T)
    gradient, _ = small.compiled_gradient(net)(params, tokens, MASK, hardness)
    chex.assert_trees_all_equal_shapes(gradient, params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        moved = np.abs(leaf).max()
        assert moved > 1e-6, jax.tree_util.keystr(path)
