"""Where arrays lie: the mesh of devices, and the one set of rules that splits arrays over it.

    sequences of a batch                   over all devices
    parameters of experts, their moments   E over `expert`
    buffers of experts, [E, B, C, D]       E over `expert`, B over `data`
    everything else                        whole on every device

One program is written for one device, and the compiler partitions it (GSPMD, Xu et al., 2021):
tokens go to the devices of their experts and back by all-to-all (GShard, Lepikhin et al.,
2020), and gradients are summed over devices. Batches are drawn inside that program from seed
and step, so neither their size nor their order depends on the devices.

Axes: E experts, B batch, C capacity, D width.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, use_abstract_mesh
from ml_collections import ConfigDict

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.tree_paths import path_names

DATA, EXPERT = "data", "expert"

RULES = (("batch", (DATA, EXPERT)), ("experts", EXPERT), ("batch_of_experts", DATA))
"""Axes as modules name them (nn/partition.py), and the axes of the mesh they are split over."""


SplitAxis = Callable[[tuple[str, ...], int], tuple[str, int] | None]
"""Names along the path of a parameter and its number of axes → name (of RULES) and number of
the axis that devices split, None for a parameter that every device holds whole."""


class Layout:
    """Arrays on one mesh. replicated: the sharding of what every device holds whole."""

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        self.replicated = NamedSharding(mesh, PartitionSpec())

    def shardings(self, tree, split_axis: SplitAxis):
        """Of every leaf of parameters, or of whatever holds arrays under the same names."""
        sharding = lambda path, leaf: NamedSharding(self.mesh, _spec(path, leaf, split_axis))
        return jax.tree_util.tree_map_with_path(sharding, tree)

    def abstract(self, tree, split_axis: SplitAxis):
        """Shapes, dtypes and shardings, which is what a checkpoint is restored by."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            tree,
            self.shardings(tree, split_axis),
        )

    def jit(self, run: Callable, **settings) -> Callable:
        """jax.jit of `run`, inside of which the rules hold."""

        def ruled(*arguments):
            with use_abstract_mesh(self.mesh.abstract_mesh), nn.logical_axis_rules(RULES):
                return run(*arguments)

        return jax.jit(ruled, **settings)

    def gathered(self, tree):
        """The same numbers in the memory of every process. To be called by all of them."""
        return jax.device_get(jax.jit(lambda x: x, out_shardings=self.replicated)(tree))


def _spec(path, leaf, split_axis) -> PartitionSpec:
    names = path_names(path)
    split = split_axis(names, leaf.ndim) if names else None
    if split is None:
        return PartitionSpec()
    name, axis = split
    return PartitionSpec(*[None] * axis, dict(RULES)[name])


def one_device() -> Layout:
    """Everything on this process's first device."""
    return Layout(_mesh(1, 1, jax.local_devices()[:1]))


def build_layout(config: ConfigDict) -> Layout:
    """All devices of all processes as config.mesh arranges them; a -1 takes what is left.

    Raises UserError for sizes that the devices or the experts cannot be split into.
    """
    devices = jax.device_count()
    sizes = {DATA: config.mesh.data, EXPERT: config.mesh.expert}
    for name, size in sizes.items():
        if size < 1 and size != -1:
            raise UserError(f"config.mesh.{name} must be at least 1, or -1, not {size}")
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise UserError("config.mesh: only one of data and expert can be -1")
    for name in free:
        fixed = sizes[EXPERT if name == DATA else DATA]
        sizes[name] = devices // fixed
    data, expert = sizes[DATA], sizes[EXPERT]
    if data * expert != devices:
        raise UserError(
            f"config.mesh: data={config.mesh.data} and expert={config.mesh.expert} do not "
            f"divide {_count(devices, 'device')}; their product has to be that number"
        )
    experts = config.model.experts.count
    if experts % expert:
        raise UserError(
            f"config.mesh.expert={expert} does not divide config.model.experts.count={experts}"
        )
    return Layout(_mesh(data, expert, None))


def check_batch(layout: Layout, training: ConfigDict) -> None:
    """Raises UserError for a batch that devices, and parts, cannot share evenly."""
    devices, parts = layout.mesh.size, training.accumulate_steps
    if training.batch_size % (devices * parts):
        times = f" times accumulate_steps={parts}" if parts > 1 else ""
        raise UserError(
            f"config.train.batch_size={training.batch_size} does not divide over "
            f"{_count(devices, 'device')}{times}; take a multiple of {devices * parts}"
        )


def _mesh(data, expert, devices):
    types = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((data, expert), (DATA, EXPERT), types, devices=devices)


def _count(number, noun):
    return f"{number} {noun}{'s' if number != 1 else ''}"
