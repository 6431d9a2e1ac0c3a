"""The product by groups: blocks must give what the definition gives, whatever the groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import grouped


def problem(rows, num_groups, seed):
    """x, kernel, and groups of which some are far more frequent than others."""
    rng = np.random.default_rng(seed)
    x, kernel = rng.normal(size=(rows, 3)), rng.normal(size=(num_groups, 3, 2))
    odds = rng.dirichlet(np.full(num_groups, 0.3))
    groups = rng.choice(num_groups, size=rows, p=odds)
    return jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(groups, jnp.int32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("rows", "num_groups"),
    [(1, 9), (200, 1), (130, 5)],  # fewer rows than groups; all of one; several blocks of some
)
def test_blocks_give_the_naive_product_and_its_gradient(rows, num_groups):
    x, kernel, groups = problem(rows, num_groups, 0)
    target = np.random.default_rng(1).normal(size=(rows, 2))

    def both(form):
        def loss(x, kernel):
            y = form(x, kernel, groups)
            return jnp.sum(y * target), y

        found = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)
        return jax.tree.leaves(found)

    pairs = zip(both(grouped.product), both(grouped.product_naive), strict=True)
    for fast, naive in pairs:
        np.testing.assert_allclose(fast, naive, atol=1e-9)


def test_blocks_by_hand():
    """Two rows a block: group 2 has the rows 0, 2 and 3, and so two blocks, the second half
    empty; group 0 has one; group 1 has none and no block. What is left is empty."""
    plan = grouped.plan_blocks(jnp.array([2, 0, 2, 2], jnp.int32), 3, 2)
    # at most (4 rows + 3 groups) / 2 = 3 blocks
    np.testing.assert_array_equal(plan.row_of_place, [1, 4, 0, 2, 3, 4])
    np.testing.assert_array_equal(plan.place_of_row, [2, 0, 3, 4])
    np.testing.assert_array_equal(plan.group_of_block, [0, 2, 2])


@pytest.mark.parametrize(
    ("rows", "num_groups", "size"), [(2048, 16, 64), (64, 16, 4), (3, 16, 1), (100, 16, 6)]
)
def test_blocks_are_no_larger_than_the_even_share(rows, num_groups, size):
    """Larger ones would be padding for the most part."""
    assert grouped.block_size(rows, num_groups) == size


@pytest.mark.parametrize(
    "change",
    [
        lambda x, kernel, groups: (x[None], kernel, groups),
        lambda x, kernel, groups: (x[:3], kernel, groups),
        lambda x, kernel, groups: (x, kernel[0], groups),
        lambda x, kernel, groups: (x, kernel, groups.astype(float)),
    ],
)
def test_wrong_shapes_and_types_are_refused(change):
    """Gathers clamp their indices and would multiply with another kernel."""
    for form in (grouped.product, grouped.product_naive):
        with pytest.raises(AssertionError):
            form(*change(*problem(5, 2, 0)))
