from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mocanet_jax.core import budget
from mocanet_jax.core.budget import BudgetConfig, Flops

FLOPS = Flops(experts=100.0, writes=30.0, reads=20.0)
K = 2


def engaged():
    """One sequence of four tokens, of which the last will be masked. They compute two of four
    experts, one, none, and two."""
    return {
        "computed": jnp.array([[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]], bool),
        "writes": jnp.array([[1.0, 0.0, 0.0, 1.0]]),
        "reads": jnp.array([[0.0, 1.0, 1.0, 1.0]]),
    }


def usage(mask, flops=FLOPS, **changes):
    return budget.usage(**engaged() | changes, mask=mask, flops=flops, k=K)


MASK = jnp.array([[True, True, True, False]])


def test_flops_by_hand():
    """FLOPs are what the usage is a share of: a wrong one misleads every budget."""
    # 4 · 4 multiply-adds of the projection, and accesses · 2 rows · 4 over all heads.
    assert budget.memory_flops(width=4, values=4, num_active=2, accesses=0) == 32
    assert budget.memory_flops(width=4, values=4, num_active=2, accesses=2) == 32 + 32
    assert budget.memory_flops(width=4, values=2, num_active=2, accesses=2) == 16 + 16


def test_usage_by_hand():
    """Masked tokens neither spend nor count."""
    used = usage(MASK)
    assert (used.experts, used.writes, used.reads) == (75, 30, 40)
    assert used.possible == Flops(300, 90, 60)
    np.testing.assert_array_equal(used.load, [1, 2, 0, 0])
    np.testing.assert_array_equal(used.counts, [1, 1, 1])


def test_shares_by_hand():
    """Shares are of FLOPs, so the total weighs each part by its FLOPs."""
    shares = usage(MASK).shares()
    expected = {"experts": 75 / 300, "writes": 30 / 90, "reads": 40 / 60, "total": 145 / 450}
    assert shares.keys() == expected.keys()
    for name, share in expected.items():
        np.testing.assert_allclose(shares[name], share, rtol=1e-6, err_msg=name)


def test_usage_adds_up_over_batches():
    """Sums divided once: batches of different size must weigh by their tokens."""
    halves = [
        usage(MASK[:, part], **{name: x[:, part] for name, x in engaged().items()})
        for part in (slice(0, 1), slice(1, 4))
    ]
    both = jax.tree.map(lambda a, b: a + b, *halves)
    np.testing.assert_allclose(both.shares()["total"], 145 / 450, rtol=1e-6)
    chex.assert_trees_all_close(both, usage(MASK))


def test_absent_parts_and_empty_batches_have_share_zero():
    """0/0 would put NaN into the loss of a model without experts, or of pure padding."""
    free = usage(MASK, Flops(0.0, 30.0, 20.0)).shares()
    assert free["experts"] == 0
    np.testing.assert_allclose(free["total"], 70 / 150, rtol=1e-6)
    empty = usage(jnp.zeros_like(MASK))
    assert all(share == 0 for share in (empty.shares() | empty.metrics()).values())

    def total(scale):
        spent = {name: scale * engaged()[name] for name in ("writes", "reads")}
        return usage(jnp.zeros_like(MASK), **spent).shares()["total"]

    assert jax.grad(total)(1.0) == 0


def test_a_model_without_experts_has_no_load():
    """Otherwise an ablation reports experts that it does not have, or divides by none."""
    used = usage(MASK, Flops(0.0, 30.0, 20.0), computed=jnp.zeros((1, 4, 0), bool))
    assert used.experts == 0
    assert used.metrics().keys() == {"usage", "usage_experts", "usage_writes", "usage_reads"}


def test_metrics_by_hand():
    """Records would give another number of experts a token, or hide an idle expert."""
    metrics = usage(MASK).metrics()
    expected = {"usage": 145 / 450, "usage_experts": 1 / 4}
    expected |= {"usage_writes": 1 / 3, "usage_reads": 2 / 3}
    expected |= {f"tokens_with_{n}_experts": 1 / 3 for n in range(3)}
    loads = (1 / 3, 2 / 3, 0, 0)
    expected |= {f"load_of_expert_{n}": load for n, load in enumerate(loads)}
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)


used_of = jax.jit(budget.usage, static_argnames="k")


@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=3, max_size=3),
    st.floats(0, 1),
    st.integers(0, 99),
)
@example([976248.0, 654495.0, 360699.0], 1.0, 0)  # adds up to more than the whole
@example([1.0, 1.0, 1.0], 0.0, 0)
def test_shares_and_counts_of_anything(flops, density, seed):
    """Shares in [0, 1], every token counted once, and as much load as tokens computed: else
    more is spent than there is, or tokens are lost."""
    rng, experts = np.random.default_rng(seed), 8
    draw = lambda *shape: rng.random((1, 47, *shape)) < density
    computed, mask = draw(experts), draw()
    writes, reads = draw().astype(np.float32), draw().astype(np.float32)
    used = used_of(computed, writes, reads, mask, Flops(*flops), k=experts)
    for share in (used.shares() | used.metrics()).values():
        assert 0 <= share <= 1
    counts, load = np.array(used.counts), np.array(used.load)
    assert counts.sum() == mask.sum()
    assert load.sum() == (counts * np.arange(experts + 1)).sum()
    assert (load <= mask.sum()).all()
    if density == 1:
        assert counts[experts] == mask.sum()


CONFIG, MULTIPLIER = BudgetConfig(target=0.3, base_cost=2.0), 10.0


class Spent(NamedTuple):
    """The usage of a batch, as a share."""

    total: jax.Array | float

    def shares(self):
        return {"total": self.total}


class Aux(NamedTuple):
    expected_share: jax.Array | float
    usage: Spent


within = pytest.mark.parametrize("share", [0.0, 0.1, 0.285])


def penalty(expected_share, share, config=CONFIG):
    return budget.penalty(Aux(expected_share, Spent(jnp.float32(share))), MULTIPLIER, config)


@within
def test_within_the_target_the_base_cost_is_left(share):
    """Two nats for the full compute, so 0.8 for an expected 0.4; not less, or what is of no
    use stays on, and not more, or a target that is kept is pressed down further."""
    np.testing.assert_allclose(penalty(0.4, share), 0.8, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(penalty)(0.4, share), 2.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("share", "h"), [(0.2925, 0.25), (0.3, 0.5), (0.3075, 0.75), (0.315, 1), (0.9, 1)]
)
def test_around_the_target_pressure_fades_in(share, h):
    """From 0 at 0.95 · 0.3 to full at 1.05 · 0.3: a step instead would swing usage between
    everything and nothing, and a band above the target alone would leave nothing at the target
    to hold usage there. Full pressure is 0.05 · 10² = 5, whatever the base cost."""
    slope = 2 + 5 * h
    np.testing.assert_allclose(penalty(0.4, share), 0.4 * slope, rtol=1e-4)
    np.testing.assert_allclose(jax.grad(penalty)(0.4, share), slope, rtol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.33, 0.9])
def test_the_realised_share_is_a_fact(share):
    """Of 0/1 decisions no gradient means anything; what learns is the expected share."""
    slope = jax.grad(lambda share: penalty(0.4, share))
    assert slope(share) == 0


def test_a_target_of_nothing_has_a_penalty():
    """0.1 · 0 as a width would divide by 0."""
    free, full = (penalty(0.4, x, BudgetConfig(target=0.0, base_cost=2.0)) for x in (0.0, 0.01))
    np.testing.assert_allclose((free, full), (0.4 * (2 + 2.5), 0.4 * (2 + 5)), rtol=1e-6)


@pytest.mark.parametrize(
    ("multiplier", "share", "expected"),
    [
        (1.0, 0.5, 1.0),  # on target
        (1.0, 0.6, 1.06),  # 0.3 · (0.6 / 0.5 - 1)
        (1.0, 0.4, 0.94),
        (1.0, 0.0, 0.7),
        (1.0, 1.0, 1.3),
        (0.05, 0.4, 0.0),  # never below nothing
        (6.9, 0.75, 7.0),  # nor above the highest
        (0.0, 0.5, 0.0),
        (7.0, 0.5, 7.0),
    ],
)
def test_update_by_hand(multiplier, share, expected):
    """A multiplier of the wrong sign or speed leaves the target, or swings around it."""
    moved = budget.update(
        jnp.float32(multiplier), jnp.float32(share), BudgetConfig(target=0.5), highest=7.0
    )
    np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("target", "share", "expected"), [(0.1, 0.9, 1.3), (0.0, 0.01, 1.3), (0.0, 0.0, 0.7)]
)
def test_the_multiplier_moves_by_its_rate_at_most(target, share, expected):
    """Far above a small target, or one of nothing, it would otherwise leap."""
    moved = budget.update(
        jnp.float32(1), jnp.float32(share), BudgetConfig(target=target), highest=7.0
    )
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "changes"),
    [
        (MASK, {"reads": jnp.ones((1, 4, 1))}),
        (MASK, {"reads": jnp.ones((1, 1))}),
        (MASK, {"writes": jnp.ones((1, 1))}),
        (MASK, {"computed": jnp.ones((1, 1, 4), bool)}),
        (MASK, {"computed": jnp.ones((1, 4, 4))}),
        (MASK.astype(float), {"reads": jnp.ones((1, 4))}),
    ],
)
def test_wrong_shapes_and_types_are_refused(mask, changes):
    """Broadcasting would count tokens several times."""
    with pytest.raises(AssertionError):
        usage(mask, **changes)
