"""Where a computation is split over devices, in names of axes: "batch", "experts" and
"batch_of_experts". Rules from outside (Flax's logical axis rules, runtime/sharding.py) say
over which devices; where there are none, nothing here does anything.

A batch that does not divide over its devices is not split: each computes all of it.

Axes: B batch, E experts, C capacity, D width.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec


def split_batch(batch):
    """The same arrays [B, …], sequences spread over devices."""

    def split(x):
        rest = [None] * (x.ndim - 1)
        return nn.with_logical_constraint(x, ("batch", *rest)) if _splits(x.shape[0]) else x

    return jax.tree.map(split, batch)


def to_experts(buffers: jax.Array) -> jax.Array:
    """Buffers [E, B, C, D] from the devices of their sequences to those of their experts, which
    takes an all-to-all."""
    return _at_experts(_at_sequences(buffers))


def from_experts(buffers: jax.Array) -> jax.Array:
    """The way back of `to_experts`."""
    return _at_sequences(_at_experts(buffers))


def by_sequence(run: Callable, *arguments, whole: tuple = ()):
    """`run(*arguments, *whole)` under shard_map over the batch: no collectives, but for the
    gradients of `whole`, arrays that every device has whole.

    Arguments and outputs are [B, …], and sequences are independent. The compiler does not infer
    that for a sort, or for rows of one table, and would gather them.
    """
    if not _splits(jax.tree.leaves(arguments)[0].shape[0]):
        return run(*arguments, *whole)
    spec = PartitionSpec(_batch_axes())
    given = (*[spec] * len(arguments), *[PartitionSpec()] * len(whole))
    split = jax.shard_map(run, in_specs=given, out_specs=spec, check_vma=False)
    return split(*arguments, *whole)


def _at_sequences(buffers):
    batch = "batch" if _splits(buffers.shape[1]) else None
    return nn.with_logical_constraint(buffers, (None, batch, None, None))


def _at_experts(buffers):
    batch = "batch_of_experts" if _splits(buffers.shape[1]) else None
    return nn.with_logical_constraint(buffers, ("experts", batch, None, None))


def _batch_axes() -> tuple[str, ...]:
    """Axes of the mesh that a batch is split over; () without rules."""
    return nn.logical_to_mesh_axes(("batch",))[0] or ()


def _splits(batch: int) -> bool:
    """Whether there are several devices, and B divides over them."""
    mesh = jax.sharding.get_abstract_mesh()
    devices = math.prod(mesh.shape[axis] for axis in _batch_axes())
    return devices > 1 and batch % devices == 0
