import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.nn import summary
from tests.nn import small

HEADS = {"location": (2, 0), "content": (0, 2), "mixed": (1, 1), "none": (0, 0)}


def shapes(net):
    tokens = jnp.zeros((1, 2), int)
    return jax.eval_shape(net.init, jax.random.key(0), tokens)["params"]


@pytest.mark.parametrize("kind", HEADS)
def test_components_hold_all_parameters(kind):
    """A parameter that no component owns would be missing from every table."""
    location, content = HEADS[kind]
    net = small.model(num_location_heads=location, num_content_heads=content)
    params = shapes(net)
    costs = summary.component_costs(net, params)
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(cost.parameters for cost in costs.values()) == total
    for part in ("controller", "experts", "router"):
        own = sum(
            leaf.size for i in range(2) for leaf in jax.tree.leaves(params[f"layers_{i}"][part])
        )
        assert costs[part].parameters == own


@pytest.mark.parametrize("kind", HEADS)
def test_flops_follow_from_the_weights(kind):
    """Each weight of a matrix costs one multiply-add a token, 2 FLOPs; keys are scored for
    the write and for the read; only K of E experts run."""
    location, content = HEADS[kind]
    net = small.model(num_location_heads=location, num_content_heads=content)
    layer, costs = shapes(net)["layers_0"], summary.layer_flops(net.layer)
    router = sum(
        x.size * (2 if "keys" in jax.tree_util.keystr(path) else 1)
        for path, x in jax.tree_util.tree_leaves_with_path(layer["router"])
        if "bias" not in jax.tree_util.keystr(path)
    )
    assert costs["router"] == 2 * router
    matrices = layer["experts"]["expand"].size + layer["experts"]["contract"].size
    assert costs["experts"] == 2 * matrices * 2 / 3
    # Two matrices of 8 · 8, and the recurrence, a multiply-add for each of 8 channels.
    assert costs["controller"] == 2 * (2 * 64) + 2 * 8
    # Two projections of 8 · 8, and three passes over 2 rows of 8.
    assert costs["memory"] == (0 if kind == "none" else 2 * (2 * 64) + 2 * 3 * 16)
