"""One kind of head by itself, with projections of its own. Axes: B batch, T time, D width."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.nn.heads import Head, HeadOutput, Sizes, WriteGate
from mocanet_jax.nn.projections import FusedProjections


class Alone(nn.Module):
    """A head that is given the layer's input, its write gate, and a mask."""

    head: Head

    def setup(self):
        wanted = (("head", tuple(self.head.projections().items())),)
        self.projections = FusedProjections(wanted)
        self.it = self.head.clone(parent=None)

    def initial_state(self, batch, num_slots):
        return self.it.initial_state(batch, num_slots)

    def __call__(self, z, gate, mask, state, hardness):
        hardness = jnp.broadcast_to(hardness, mask.shape[:1])[:, None, None]
        return self.it(z, self.projections(z)["head"], gate, mask, state, hardness)


class Run(NamedTuple):
    output: HeadOutput
    params: dict
    """Of the head, and `projections`, without the owner's name."""


def sized(head: Head, width=4, num_slots=6, active_slots=2, gated=True) -> Alone:
    """The head in a layer of H heads of its kind alone."""
    sizes = Sizes(width, width // head.count, num_slots, active_slots, gated)
    return Alone(head.clone(parent=None, sizes=sizes))


def gate(mask, count, opened=None, margins=None) -> WriteGate:
    """opened: [B, T, H], all by default. margins: far from the threshold by default."""
    mask = jnp.asarray(mask, bool)
    opened = jnp.ones((*mask.shape, count)) if opened is None else jnp.asarray(opened)
    margins = 9.0 * (2 * opened - 1) if margins is None else jnp.asarray(margins)
    return WriteGate(opened * mask[..., None], margins)


def initial(net: Alone, width=4) -> dict:
    """Parameters as they start."""
    z, mask = jnp.zeros((1, 2, width)), jnp.ones((1, 2), bool)

    def start(net):
        state = net.initial_state(1, net.head.sizes.num_slots)
        write = gate(mask, net.head.count)
        write = write if net.head.sizes.gated else write._replace(margins=None)
        return net(z, write, mask, state, 1.0)

    return jax.jit(lambda key: net.init(key, method=start))(jax.random.key(0))["params"]


def zeros(net: Alone, width=4) -> dict:
    """Parameters of zeros, as arrays that a test can set."""
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), initial(net, width))


def drawn(net: Alone, width=4, seed=0) -> dict:
    """Random parameters."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initial(net, width))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)


class Inputs(NamedTuple):
    """z: [B, T, D]. mask: of ones by default. state: that before a sequence by default.
    write: a gate; by default every unmasked token writes."""

    z: jax.Array
    mask: jax.Array | None = None
    state: Any = None
    write: WriteGate | None = None


def run(net: Alone, params, inputs: Inputs, hardness=1.0) -> HeadOutput:
    """The head on its inputs."""
    z, mask, state, write = inputs
    mask = np.ones(z.shape[:2], bool) if mask is None else np.asarray(mask, bool)
    if write is None:
        write = gate(mask, net.head.count)
        write = write if net.head.sizes.gated else write._replace(margins=None)

    def apply(params, hardness):
        def call(net):
            start = state
            if start is None:
                start = net.initial_state(len(z), net.head.sizes.num_slots)
            return net(jnp.asarray(z), write, jnp.asarray(mask), start, hardness)

        return net.apply({"params": params}, method=call)

    return jax.jit(apply)(params, hardness)


def random_inputs(B=2, T=6, D=4):
    rng = np.random.default_rng(1)
    return rng.normal(size=(B, T, D)), rng.random((B, T)) < 0.7
