"""A matrix product whose second factor depends on the group of the row.

    y_m = x_m · kernel[group_m]

`product_naive` multiplies every row with the kernel of every group and picks one. `product`
sorts the rows by group and cuts them into blocks of rows of one group (as MegaBlocks, Gale et
al., 2022, pads them): whatever the groups, M rows take at most M + G · (size − 1) places, none
is left out, and no row changes the result of another.

Axes: M rows, D width, G groups, N features, S blocks.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core import precision
from mocanet_jax.core.rows import take

LARGEST_BLOCK = 64
"""Rows of a block (benchmarks/routing.py); larger ones stay emptier, smaller ones fetch a
kernel more often."""


class Blocks(NamedTuple):
    """Where rows stand in blocks of equal size, and the reverse.

    row_of_place: int32 [S · size] in [0, M), or M for an empty place. place_of_row: int32 [M].
    group_of_block: int32 [S].
    """

    row_of_place: jax.Array
    place_of_row: jax.Array
    group_of_block: jax.Array


def block_size(num_rows: int, num_groups: int) -> int:
    """Rows of a block: the even share of a group, at most LARGEST_BLOCK."""
    if not isinstance(num_rows, int):  # a program that is exported for any batch
        return 1
    return max(1, min(LARGEST_BLOCK, num_rows // num_groups))


def plan_blocks(groups: jax.Array, num_groups: int, size: int) -> Blocks:
    """groups: int32 [M], in [0, G). size: rows of a block."""
    chex.assert_rank(groups, 1)
    chex.assert_type(groups, jnp.int32)
    rows = groups.shape[0]
    order = jnp.argsort(groups, stable=True).astype(jnp.int32)
    counts = jnp.zeros((num_groups,), jnp.int32).at[groups].add(1, mode="promise_in_bounds")
    blocks = -(-counts // size)
    ends = jnp.cumsum(blocks)
    # How far a group's rows move from their places in order to those in their blocks.
    shift = (ends - blocks) * size - (jnp.cumsum(counts) - counts)
    moved = take(shift, take(groups, order))
    places = (moved + jnp.arange(rows, dtype=jnp.int32)).astype(jnp.int32)
    most = rows if size == 1 else (rows + num_groups * (size - 1)) // size
    settings = {"unique_indices": True, "mode": "promise_in_bounds"}
    row_of_place = jnp.full((most * size,), rows, jnp.int32).at[places].set(order, **settings)
    place_of_row = jnp.zeros((rows,), jnp.int32).at[order].set(places, **settings)
    number = jnp.arange(most, dtype=jnp.int32)
    group_of_block = jnp.searchsorted(ends, number, side="right")
    return Blocks(row_of_place, place_of_row, jnp.minimum(group_of_block, num_groups - 1))


@jax.custom_vjp
def _to_places(x, blocks):
    """Rows [M, D] to their places [S · size, D]; empty ones hold zeros."""
    return take(jnp.pad(x, ((0, 1), (0, 0))), blocks.row_of_place)


@jax.custom_vjp
def _to_rows(y, blocks):
    """The way back: [S · size, N] to [M, N]."""
    return take(y, blocks.place_of_row)


# Each is the other's transpose, so neither gradient needs a scatter.
_to_places.defvjp(
    lambda x, blocks: (_to_places(x, blocks), blocks),
    lambda blocks, g: (_to_rows(g, blocks), None),
)
_to_rows.defvjp(
    lambda y, blocks: (_to_rows(y, blocks), blocks),
    lambda blocks, g: (_to_places(g, blocks), None),
)


def product(x: jax.Array, kernel: jax.Array, groups: jax.Array) -> jax.Array:
    """x: float [M, D]. kernel: [G, D, N]. groups: int32 [M], in [0, G). Returns [M, N], float32
    at least (core/precision.py)."""
    _check(x, kernel, groups)
    num_groups, width, _ = kernel.shape
    size = block_size(x.shape[0], num_groups)
    blocks = plan_blocks(groups, num_groups, size)
    placed = _to_places(x, blocks).reshape(-1, size, width)
    placed = precision.product(placed, take(kernel, blocks.group_of_block))
    return _to_rows(placed.reshape(-1, placed.shape[-1]), blocks)


def product_naive(x: jax.Array, kernel: jax.Array, groups: jax.Array) -> jax.Array:
    """As `product`, with G times its arithmetic."""
    _check(x, kernel, groups)
    everywhere = precision.product(x[None], kernel)  # [G, M, N]
    return jnp.take_along_axis(everywhere, groups[None, :, None], axis=0)[0]


def _check(x, kernel, groups):
    chex.assert_rank([x, kernel, groups], [2, 3, 1])
    chex.assert_equal_shape_prefix([x, groups], 1)
    chex.assert_type([x, kernel, groups], [float, float, jnp.int32])
