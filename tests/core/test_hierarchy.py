"""Two-level choice of experts: as if all E were scored and those of other groups left out.

Axes: B batch, T time, G groups, J chosen groups, N experts of a group, K active experts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import dispatch, hierarchy
from mocanet_jax.core.hierarchy import GroupedLogits

B, T, G, N, J, K = 2, 5, 4, 3, 2, 2


def of_all(seed=0):
    """Logits of all groups [B, T, G] and of all experts [B, T, G, N]."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(B, T, G))), jnp.asarray(rng.normal(size=(B, T, G, N)))


def of_candidates(groups, experts, chosen_groups=J):
    chosen = jax.lax.top_k(groups, chosen_groups)[1]
    return GroupedLogits(
        groups, chosen, jnp.take_along_axis(experts, chosen[..., None], axis=2)
    )


def candidates(groups):
    """Which groups are among the J best, bool [B, T, G, 1]."""
    least = jnp.sort(groups, axis=-1)[..., -J, None]
    return (groups >= least)[..., None]


def naive_gates(groups, experts):
    """Every product of probabilities, those of other groups set to 0."""
    joint = jax.nn.softmax(groups)[..., None] * jax.nn.softmax(experts)
    weights, indices = jax.lax.top_k((joint * candidates(groups)).reshape(B, T, G * N), K)
    return dispatch.Gates(indices, weights)


def naive_margins(groups, experts):
    margins = jnp.minimum(groups[..., None], experts)
    margins = jnp.where(candidates(groups), margins, -jnp.inf)
    return jax.lax.top_k(margins.reshape(B, T, G * N), K)


def test_gates_by_hand():
    """Odds of groups 3 : 1, of experts 1 : 4 and 1 : 1: 0.75 · 0.8 for expert 1, the second of
    group 0, and 0.25 · 0.5 for those of group 1."""
    groups = jnp.log(jnp.array([[[3.0, 1.0]]]))
    experts = jnp.log(jnp.array([[[[1.0, 4.0], [1.0, 1.0]]]]))
    both = GroupedLogits(groups, jnp.array([[[0, 1]]], jnp.int32), experts)
    gates = hierarchy.top_k_gates(both, 2)
    np.testing.assert_array_equal(gates.indices, [[[1, 0]]])
    np.testing.assert_allclose(gates.weights, [[[0.6, 0.15]]], rtol=1e-6)
    second = GroupedLogits(groups, jnp.array([[[1]]], jnp.int32), experts[:, :, 1:])
    gates = hierarchy.top_k_gates(second, 2)
    np.testing.assert_array_equal(gates.indices, [[[2, 3]]])
    np.testing.assert_allclose(gates.weights, [[[0.125, 0.125]]], rtol=1e-6)


def test_margins_by_hand():
    """A gate is as open as the lower of both levels: a closed group closes its experts, and an
    expert may be closed in an open group."""
    both = GroupedLogits(
        jnp.array([[[0.5, -1.0]]]),
        jnp.array([[[0, 1]]], jnp.int32),
        jnp.array([[[[2.0, 0.25, -3.0], [4.0, -2.0, 1.0]]]]),
    )
    margins, indices = hierarchy.top_k(both, 4)
    np.testing.assert_array_equal(indices, [[[0, 1, 3, 5]]])
    np.testing.assert_allclose(margins, [[[0.5, 0.25, -1.0, -1.0]]])
    picked = hierarchy.margins_of(both, jnp.array([[[4, 2, 0]]], jnp.int32))
    np.testing.assert_allclose(picked, [[[-2.0, -3.0, 0.5]]])


@pytest.mark.usefixtures("float64")
def test_the_choice_is_that_of_all_experts_with_other_groups_left_out():
    """In value, and in the gradient of both levels' logits."""
    rng = np.random.default_rng(1)
    by = rng.normal(size=(B, T, K))
    forms = {
        "gates": (
            lambda g, e: hierarchy.top_k_gates(of_candidates(g, e), K)[::-1],
            lambda g, e: naive_gates(g, e)[::-1],
        ),
        "margins": (lambda g, e: hierarchy.top_k(of_candidates(g, e), K), naive_margins),
    }
    for name, (fast, naive) in forms.items():
        (weights, indices), (expected, of) = fast(*of_all()), naive(*of_all())
        np.testing.assert_array_equal(indices, of, name)
        np.testing.assert_allclose(weights, expected, rtol=1e-12)
        slopes = [
            jax.grad(lambda g, e, form=form: jnp.sum(form(g, e)[0] * by), (0, 1))(*of_all())
            for form in (fast, naive)
        ]
        for found, wanted in zip(*slopes, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_with_a_single_level_it_is_flat_routing():
    """Groups of one expert each, or one group of all."""
    logits, one = of_all()[0], jnp.zeros((B, T, 1))
    alone = of_candidates(logits, 0 * logits[..., None], chosen_groups=K)
    together = of_candidates(one, logits[:, :, None], chosen_groups=1)
    flat = dispatch.top_k_gates(logits, K)
    for both in (alone, together):
        gates = hierarchy.top_k_gates(both, K)
        np.testing.assert_array_equal(gates.indices, flat.indices)
        np.testing.assert_allclose(gates.weights, flat.weights, rtol=1e-12)


def test_balance_by_hand():
    """Three tokens count, the fourth is masked; experts 0, 1 and 3 of two groups of two."""
    log = lambda x: jnp.log(jnp.array(x))
    groups = log([[[3.0, 1.0], [3.0, 1.0], [1.0, 3.0], [1.0, 9.0]]])
    experts = log([[[[3.0, 1.0]], [[1.0, 1.0]], [[1.0, 4.0]], [[9.0, 1.0]]]])
    chosen = jnp.array([[[0], [0], [1], [1]]], jnp.int32)
    indices = jnp.array([[[0], [1], [3], [2]]], jnp.int32)
    mask = jnp.array([[True, True, True, False]])
    loss = hierarchy.load_balance_loss(
        GroupedLogits(groups, chosen, experts), indices, mask[..., None], mask
    )
    # Groups: f = (2/3, 1/3), p = (0.75 + 0.75 + 0.25, 0.25 + 0.25 + 0.75) / 3.
    of_groups = 2 * (2 / 3 * 7 / 12 + 1 / 3 * 5 / 12)
    # Experts: f = (1/3, 1/3, 0, 1/3); in group 0 p = (0.75 + 0.5, 0.25 + 0.5) / 2, in group 1
    # of its only token (0.2, 0.8).
    of_experts = 2 / 3 * (5 / 8 + 3 / 8 + 0.8)
    np.testing.assert_allclose(loss, of_groups + of_experts, rtol=1e-6)


def test_an_even_choice_has_a_balance_of_two():
    """One for each level."""
    indices = jnp.arange(12, dtype=jnp.int32).reshape(1, 12, 1)
    even = GroupedLogits(jnp.zeros((1, 12, G)), indices // N, jnp.zeros((1, 12, 1, N)))
    loss = hierarchy.load_balance_loss(
        even, indices, jnp.ones((1, 12, 1), bool), jnp.ones((1, 12), bool)
    )
    np.testing.assert_allclose(loss, 2.0, rtol=1e-6)


def test_z_loss_by_hand():
    """Of the groups log 4 and log 2; of the experts log 2 and log 8, each of one group; the
    masked token does not count."""
    log = lambda x: jnp.log(jnp.array(x))
    both = GroupedLogits(
        log([[[3.0, 1.0], [1.0, 1.0], [5.0, 5.0]]]),
        jnp.zeros((1, 3, 1), jnp.int32),
        log([[[[1.0, 1.0]], [[7.0, 1.0]], [[9.0, 9.0]]]]),
    )
    loss = hierarchy.router_z_loss(both, jnp.array([[True, True, False]]))
    expected = (np.log(4) ** 2 + np.log(2) ** 2) / 2 + (np.log(2) ** 2 + np.log(8) ** 2) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_losses_of_nothing_are_zero():
    """A batch of padding alone must not put NaN into the gradient."""
    nothing, indices = jnp.zeros((B, T), bool), jnp.zeros((B, T, K), jnp.int32)
    closed = jnp.zeros((B, T, K), bool)
    for loss in (
        lambda both: hierarchy.load_balance_loss(both, indices, closed, nothing),
        lambda both: hierarchy.router_z_loss(both, nothing),
    ):
        total = lambda groups, experts, loss=loss: loss(of_candidates(groups, experts))
        value, slopes = jax.value_and_grad(total, (0, 1))(*of_all())
        assert value == 0
        assert all((slope == 0).all() for slope in slopes)
