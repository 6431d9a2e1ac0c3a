"""The router's gates. Axes: B batch, T time, H memory heads, E experts."""

import numpy as np
import pytest

from mocanet_jax.core.budget import Thresholds
from mocanet_jax.nn.router import Router

THRESHOLDS = Thresholds(0.4, 0.3, 0.2)
B, T, E, H = 2, 6, 3, 2


def inputs(net):
    """Random logits for what the router wants, and a mask."""
    rng = np.random.default_rng(1)
    logits = {n: rng.normal(size=(B, T, p.features)) for n, p in net.projections().items()}
    return logits, rng.random((B, T)) < 0.7


def decide(net, logits, mask):
    return net.apply({}, logits, mask, THRESHOLDS)


@pytest.mark.usefixtures("float64")
def test_dynamic_gates_by_hand():
    """Each part has its own logit and threshold."""
    net = Router(E, (2.0, 2.0), dynamic=True)
    logits, mask = inputs(net)
    decided = decide(net, logits, mask)
    bent = lambda name: 6 * np.tanh(logits[name] / 6)
    np.testing.assert_allclose(decided.expert_logits, bent("expert") - 0.4)
    np.testing.assert_allclose(decided.writes.margins, bent("write_gate") - 0.3)
    opened = (bent("write_gate") > 0.3) & mask[..., None]
    np.testing.assert_array_equal(decided.writes.open, opened)
    np.testing.assert_array_equal(decided.read_logits, logits["read_gate"])
    assert 0 < opened[mask].mean() < 1, "no gate is open, or all are"


def test_gates_start_where_their_heads_say():
    """What starts closed has nothing to learn from; a priority queue starts undecided."""
    wanted = Router(E, (2.0, 2.0, 0.0), dynamic=True).projections()
    start = lambda name: wanted[name].bias_init(None, (wanted[name].features,))
    np.testing.assert_array_equal(start("write_gate"), [2, 2, 0])
    np.testing.assert_array_equal(start("read_gate"), [2, 2, 2])
    np.testing.assert_array_equal(start("expert"), [2, 2, 2])


def test_fixed_routing_has_no_gates():
    """Top-k routing must not pay for gates, nor keep parameters of them."""
    net = Router(E, (2.0, 2.0), dynamic=False)
    assert net.projections().keys() == {"expert"}
    assert net.projections()["expert"].bias_init is None
    logits, mask = inputs(net)
    decided = decide(net, logits, mask)
    np.testing.assert_array_equal(decided.expert_logits, logits["expert"])
    np.testing.assert_array_equal(decided.writes.open, np.repeat(mask[..., None], H, axis=-1))
    assert decided.writes.margins is decided.read_logits is None


def test_without_heads_only_experts_are_routed():
    net = Router(E, (), dynamic=True)
    assert net.projections().keys() == {"expert"}
    decided = decide(net, *inputs(net))
    assert decided.writes is decided.read_logits is None
    assert Router(0, (), dynamic=True).projections() == {}
