"""An analytic model of a training step on many devices (docs/experiments/scaling.md).

    python -m benchmarks.scaling_model

Axes: B batch, T time, D width, E experts, C capacity, N devices.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.core.budget import BudgetConfig
from mocanet_jax.nn.config import ExpertsConfig, LayerConfig, MemoryConfig
from mocanet_jax.nn.experts import MlpExpert
from mocanet_jax.nn.heads import Content, Ring
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.summary import component_costs

NUMBER = 4  # bytes, float32
TOP_K = 2  # experts a token
DEVICES = ((8, 8, 1), (8, 1, 8), (64, 64, 1), (64, 8, 8), (512, 512, 1), (512, 64, 8))
"""N, and the mesh: data × expert."""


class Machine(NamedTuple):
    """One device. flops: sustained, per second. bandwidth: bytes per second that it sends while
    it receives as many. latency: seconds for a message between two devices."""

    flops: float = 50e12
    bandwidth: float = 50e9
    latency: float = 10e-6


class Times(NamedTuple):
    """Seconds of one step on one device."""

    compute: float
    all_to_all: float
    all_reduce: float


def times(
    model: MocaNet, batch: int, length: int, data: int, expert: int, machine: Machine
) -> Times:
    """batch: B of all devices together. length: T. data, expert: sizes of the mesh."""
    spec, devices = model.layer, data * expert
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    costs = component_costs(model, params["params"])
    tokens = batch * length / devices
    flops = 3 * sum(cost.flops for cost in costs.values())  # backward is twice forward

    slots = spec.experts.capacity_factor * TOP_K  # E·C per token
    sent = NUMBER * tokens * slots * spec.width * (expert - 1) / expert
    exchange = sent / machine.bandwidth + (expert - 1) * machine.latency
    experts = costs["experts"].parameters
    rest = sum(cost.parameters for cost in costs.values()) - experts
    return Times(
        tokens * flops / machine.flops,
        4 * model.num_layers * exchange if expert > 1 else 0.0,
        _all_reduce(rest, devices, machine) + _all_reduce(experts / expert, data, machine),
    )


def _all_reduce(numbers, devices, machine):
    """A sum over devices: bandwidth of a ring, latency of a tree, both ways."""
    volume = 2 * NUMBER * numbers * (devices - 1) / devices
    return volume / machine.bandwidth + 2 * math.log2(devices) * machine.latency


def network(layers: int, width: int, experts: int, hidden: int) -> MocaNet:
    layer = LayerConfig(
        width=width,
        memory=MemoryConfig(heads=(Ring(4), Content(4))),
        experts=ExpertsConfig(experts, TOP_K, MlpExpert(hidden)),
        budget=BudgetConfig(routing="topk"),
        time="parallel",
    )
    return MocaNet(32_000, layers, layer)


MODELS = {
    "small: 2 layers, D 128, 8 experts of 256": (network(2, 128, 8, 256), 64, 128),
    "large: 12 layers, D 1024, 64 experts of 4096": (network(12, 1024, 64, 4096), 8, 1024),
}
"""Model, sequences for each device, T."""


def main() -> None:
    machine = Machine()
    for name, (model, batch, length) in MODELS.items():
        print(f"{name}; {batch} sequences of {length} a device")
        for devices, data, expert in DEVICES:
            t = times(model, batch * devices, length, data, expert, machine)
            print(
                f"  {devices:3d} = {data:3d} x {expert}  compute {1e3 * t.compute:7.2f} ms  "
                f"all-to-all {1e3 * t.all_to_all:7.2f} ms  "
                f"all-reduce {1e3 * t.all_reduce:7.2f} ms  "
                f"efficiency {t.compute / sum(t):4.0%}"
            )


if __name__ == "__main__":
    main()
