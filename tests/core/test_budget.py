import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import budget
from mocanet_jax.core.budget import Prices

PRICES = Prices(experts=100.0, writes=30.0, reads=20.0)


def engaged():
    """One sequence of four tokens, of which the last will be masked."""
    return {
        "experts": jnp.array([[0.5, 0.25, 0.0, 1.0]]),
        "writes": jnp.array([[1.0, 0.0, 0.0, 1.0]]),
        "reads": jnp.array([[0.0, 1.0, 1.0, 1.0]]),
    }


MASK = jnp.array([[True, True, True, False]])


def test_prices_by_hand():
    """Prices are what the usage is a share of: a wrong one misleads every budget."""
    # 2 · 3 multiply-adds in, 3 · 2 out.
    assert budget.expert_price(embedding_dim=2, hidden_dim=3) == 24
    # 4 · 4 multiply-adds of the projection, and accesses · 2 rows · 4 over all heads.
    assert budget.memory_price(embedding_dim=4, num_active=2, accesses=1) == 32 + 16
    assert budget.memory_price(embedding_dim=4, num_active=2, accesses=2) == 32 + 32


def test_usage_by_hand():
    """Masked tokens neither spend nor count."""
    used = budget.usage(engaged(), MASK, PRICES)
    assert (used.experts, used.writes, used.reads) == (75, 30, 40)
    assert used.possible == Prices(300, 90, 60)


def test_shares_by_hand():
    """Shares are of FLOPs, so the total weighs each part by its price."""
    shares = budget.usage(engaged(), MASK, PRICES).shares()
    expected = {"experts": 75 / 300, "writes": 30 / 90, "reads": 40 / 60, "total": 145 / 450}
    assert shares.keys() == expected.keys()
    for name, share in expected.items():
        np.testing.assert_allclose(shares[name], share, rtol=1e-6, err_msg=name)


def test_usage_adds_up_over_batches():
    """Sums divided once: batches of different size must weigh by their tokens."""
    halves = [
        budget.usage({n: x[:, part] for n, x in engaged().items()}, MASK[:, part], PRICES)
        for part in (slice(0, 1), slice(1, 4))
    ]
    both = jax.tree.map(lambda a, b: a + b, *halves)
    np.testing.assert_allclose(both.shares()["total"], 145 / 450, rtol=1e-6)


def test_absent_parts_and_empty_batches_have_share_zero():
    """0/0 would put NaN into the loss of a model without experts, or of pure padding."""
    free = budget.usage(engaged(), MASK, Prices(0.0, 30.0, 20.0)).shares()
    assert free["experts"] == 0
    np.testing.assert_allclose(free["total"], 70 / 150, rtol=1e-6)
    shares = budget.usage(engaged(), jnp.zeros_like(MASK), PRICES).shares()
    assert all(share == 0 for share in shares.values())

    def total(scale):
        spent = {name: scale * x for name, x in engaged().items()}
        return budget.usage(spent, jnp.zeros_like(MASK), PRICES).shares()["total"]

    assert jax.grad(total)(1.0) == 0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.2), (0.3, 0.0), (0.1, 0.0), (0.0, 0.0)]
)
def test_penalty_is_a_ceiling(share, expected):
    """Using less than the target must cost nothing and push nowhere."""
    share = jnp.array(share)
    np.testing.assert_allclose(budget.penalty(share, 0.3), expected, atol=1e-6)
    if share != 0.3:
        assert jax.grad(budget.penalty)(share, 0.3) == float(expected > 0)


@pytest.mark.parametrize(
    ("name", "wrong", "mask"),
    [
        ("reads", jnp.ones((1, 4, 1)), MASK),
        ("reads", jnp.ones((1, 1)), MASK),
        ("reads", jnp.ones((1, 4)), MASK.astype(float)),
    ],
)
def test_wrong_shapes_and_types_are_refused(name, wrong, mask):
    """Broadcasting would count tokens several times."""
    with pytest.raises(AssertionError):
        budget.usage(engaged() | {name: wrong}, mask, PRICES)
