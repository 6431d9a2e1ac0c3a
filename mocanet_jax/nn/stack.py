"""Layers one after another, with their state and what they did.

Axes: B batch, T time, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.core.rows import taken
from mocanet_jax.nn.layer import LayerAux, LayerSpec, LayerState, MocaLayer


class ModelState(NamedTuple):
    """The state of every layer, carried from one segment of a sequence to the next."""

    layers: tuple[LayerState, ...]


class ModelAux(NamedTuple):
    """layers: what each layer did. balance_loss, z_loss: float [], means over layers.
    dropped: int32 [], expert choices that found no room. usage: summed over layers.
    expected_share, indecision: float [], means over layers. price: float [], λ.
    """

    layers: tuple[LayerAux, ...]
    balance_loss: jax.Array
    z_loss: jax.Array
    dropped: jax.Array
    usage: budget.Usage | budget.AlwaysOn
    expected_share: jax.Array
    indecision: jax.Array
    price: jax.Array


def checked_mask(tokens: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The mask of tokens, int [B, T]: bool [B, T], of ones for None. Raises AssertionError for
    other shapes and types, which would broadcast into a wrong state."""
    chex.assert_rank(tokens, 2)
    if mask is None:
        mask = jnp.ones(tokens.shape, bool)
    chex.assert_equal_shape([tokens, mask])
    chex.assert_type([tokens, mask], [int, bool])
    return mask


def price(module: nn.Module, spec: LayerSpec) -> jax.Array:
    """λ, float []: a parameter of `module` that the budget moves (core/budget.py) and no
    gradient does; 0 where routing is fixed."""
    if spec.routing == "topk":
        return jnp.zeros(())
    return jax.lax.stop_gradient(module.param("price", nn.initializers.zeros, ()))


def build(spec: LayerSpec, count: int) -> list[MocaLayer]:
    """`count` layers, for a module's setup; with names and parameters that do not depend on
    `remat`."""
    # Argument 4 is `train`, which Python asks about.
    kind = nn.remat(MocaLayer, static_argnums=(4,)) if spec.remat else MocaLayer
    return [kind(spec) for _ in range(count)]


def initial_state(
    layers: Sequence[MocaLayer], batch: int, num_slots: int | None = None
) -> ModelState:
    """num_slots: enlarges every memory to S slots; only heads by location and by
    association use the extra room."""
    return ModelState(tuple(layer.initial_state(batch, num_slots) for layer in layers))


def run(
    layers: Sequence[MocaLayer],
    x: jax.Array,
    mask: jax.Array,
    states: Sequence[LayerState],
    train: bool,
    rounding: jax.Array | float,
    price: jax.Array | float,
) -> tuple[jax.Array, tuple[LayerState, ...], tuple[LayerAux, ...]]:
    """x [B, T, D] through every layer; returns x', the next states and what layers did."""
    after, did = [], []
    for layer, state in zip(layers, states, strict=True):
        x, state, aux = layer(x, mask, state, train, rounding, price)
        after.append(state)
        did.append(aux)
    return x, tuple(after), tuple(did)


def at_steps(x: jax.Array, steps: jax.Array | None) -> jax.Array:
    """x [B, T, D] at int [B, N] in [0, T): [B, N, D]; all of x for None."""
    return x if steps is None else taken(x, steps)


def collect(layers: tuple[LayerAux, ...], price: jax.Array) -> ModelAux:
    """Losses averaged and counts summed over layers."""
    experts = [aux.experts for aux in layers if aux.experts is not None]
    mean = lambda values: sum(values) / max(len(values), 1) + jnp.zeros(())
    return ModelAux(
        layers,
        mean([e.balance_loss for e in experts]),
        mean([e.z_loss for e in experts]),
        sum((e.dropped for e in experts), start=jnp.zeros((), jnp.int32)),
        jax.tree.map(lambda *parts: sum(parts), *(aux.usage for aux in layers)),
        mean([aux.expected_share for aux in layers]),
        mean([aux.indecision for aux in layers]),
        price,
    )
