import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.core import gating
from mocanet_jax.core.straight_through import hard_gate

LN3 = float(np.log(3))
"""σ(ln 3) = 3/4 and tanh(ln 3 / 2) = 1/2."""
logits = st.floats(width=32, allow_nan=False)
costs = st.floats(0, 20, width=32)


def slopes(function, values):
    """The derivative of a function of one number at each value."""
    return jax.vmap(jax.grad(function))(jnp.array(values))


def test_margin_by_hand():
    """The threshold must be in logits, and large logits must saturate smoothly, or a gate
    that is far open would have no gradient left to close it."""
    margins = gating.margin(jnp.array([0.0, 6.0, -6.0]), 1.5)
    np.testing.assert_allclose(margins, [-1.5, 3.0695649, -6.0695649], rtol=1e-6)
    # 6 tanh(x / 6) has the slope 1 - tanh² (x / 6): 1 at 0 and 1 - 0.7615942² at ±6.
    slope = slopes(lambda x: gating.margin(x, 1.5), [0.0, 6.0, -6.0])
    np.testing.assert_allclose(slope, [1.0, 0.4199743, 0.4199743], rtol=1e-6)


def test_each_part_has_its_own_cost():
    """The threshold of a part grows with its share of the FLOPs."""
    margins = gating.margin(jnp.zeros((2, 3)), jnp.array([[0.1, 0.2, 0.3]]))
    np.testing.assert_allclose(margins, [[-0.1, -0.2, -0.3]] * 2, rtol=1e-6)


@given(logits, costs)
def test_gates_are_bounded(logit, cost):
    """Otherwise a logit could grow so far that no multiplier closes the gate, or reopens it."""
    margin = gating.margin(jnp.float32(logit), cost)
    assert -gating.BOUND <= margin + jnp.float32(cost) <= gating.BOUND + 1e-5
    assert hard_gate(gating.margin(jnp.float32(logit), gating.BOUND)) == 0
    assert gating.expert_weight(gating.margin(jnp.float32(logit), gating.BOUND)) == 0


@given(logits, costs, costs)
def test_a_higher_threshold_opens_no_gate(logit, one, other):
    """The budget would push the wrong way."""
    low, high = (gating.margin(jnp.float32(logit), cost) for cost in sorted((one, other)))
    assert hard_gate(high) <= hard_gate(low)
    assert gating.expert_weight(high) <= gating.expert_weight(low)


@given(st.floats(-13, 13, width=32))
def test_a_gate_is_open_or_closed(margin):
    """A gate in between would be computed and counted as if it were open; one at its
    threshold is closed, so that the highest multiplier closes every gate."""
    gate = jax.jit(hard_gate)(jnp.float32(margin))
    assert gate == (1.0 if margin > 0 else 0.0)


def test_a_gate_learns_as_its_sigmoid_on_both_sides():
    """A closed gate without a gradient stays closed. σ' = σ (1 - σ) is 3/16 at ±ln 3."""
    slope = slopes(hard_gate, [LN3, -LN3, 0.0])
    np.testing.assert_allclose(slope, [3 / 16, 3 / 16, 1 / 4], rtol=1e-6)


@pytest.mark.parametrize("hardness", [0.0, 0.25, 1.0])
def test_a_hard_gate_by_hand(hardness):
    """From σ to 0 and 1, with the slope of σ all the way."""
    margins = [LN3, -LN3, 0.0]
    gate = lambda m: hard_gate(m, hardness)
    soft, whole = np.array([3 / 4, 1 / 4, 1 / 2]), np.array([1, 0, 0])
    expected = soft + hardness * (whole - soft)
    np.testing.assert_allclose(gate(jnp.array(margins)), expected, rtol=1e-6)
    np.testing.assert_allclose(slopes(gate, margins), [3 / 16, 3 / 16, 1 / 4], rtol=1e-6)


def test_engaged_passes_the_value_or_nothing():
    """A gate that scales or leaks passes the wrong content, or passes it although closed."""
    value = jnp.array([[3.0, -4.0]] * 3)
    found = gating.engaged(value, jnp.array([[LN3], [0.0], [-LN3]]))
    np.testing.assert_allclose(found, [[3, -4], [0, 0], [0, 0]], atol=1e-6)


def test_a_closed_gate_receives_the_gradient_of_its_contribution():
    """Else a write that is never read and a read of an empty slot stay closed together. Both
    learn as from σ(m) · value: σ is 3/4 and 1/4 at ±ln 3, and σ' 3/16."""
    gradient = jax.vmap(jax.grad(gating.engaged, (0, 1)), (None, 0))
    of_value, of_margin = gradient(4.0, jnp.array([LN3, -LN3]))
    np.testing.assert_allclose(of_value, [3 / 4, 1 / 4], rtol=1e-6)
    np.testing.assert_allclose(of_margin, [4 * 3 / 16] * 2, rtol=1e-6)


def test_fill_by_hand():
    """A mean square of 3 is filled by 3/4, and nothing by nothing, of any width; with a
    gradient that is finite there."""
    rows = jnp.array([[3**0.5, -(3**0.5)], [0.0, 6**0.5], [0.0, 0.0]])
    np.testing.assert_allclose(gating.fill(rows), [3 / 4, 3 / 4, 0], rtol=1e-6)
    assert (jax.grad(gating.fill)(jnp.zeros(5)) == 0).all()


def test_expert_weight_by_hand():
    """tanh(m / 2) above the threshold and nothing below it."""
    weights = gating.expert_weight(jnp.array([LN3, 2 * LN3, 0.0, -1e-6, -LN3, -12.0]))
    np.testing.assert_allclose(weights[:2], [0.5, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(weights[2:], jnp.zeros(4))


@given(st.floats(-12, 12, width=32), st.floats(0, 0.125, width=32))
def test_expert_weight_has_no_jump(margin, by):
    """A threshold that passes a logit must not change the output abruptly: at most by half of
    the change, the steepest slope."""
    low, high = gating.expert_weight(jnp.array([margin, margin + by], jnp.float32))
    assert 0 <= low <= high <= min(1, low + 0.5 * by + 1e-6)


def test_an_expert_learns_on_both_sides_of_the_threshold():
    """A closed expert that is explored must receive the gradient of what it would gain. The
    slope of tanh(m / 2) is (1 - tanh²) / 2: 3/8 at ±ln 3."""
    slope = slopes(gating.expert_weight, [LN3, -LN3, 0.0])
    np.testing.assert_allclose(slope, [3 / 8, 3 / 8, 1 / 2], rtol=1e-6)


def test_logits_that_are_no_floats_are_refused():
    """Integers would be compared without a gradient."""
    with pytest.raises(AssertionError):
        gating.margin(jnp.ones((2, 3), int), 0.5)
