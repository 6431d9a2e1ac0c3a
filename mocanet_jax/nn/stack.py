"""Layers one after another, with their state and auxiliary outputs.

Axes: B batch, T time, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.nn.cache import RecentState
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.layer import LayerAux, LayerState, MocaLayer
from mocanet_jax.nn.lstm import Kinds


class ModelState(NamedTuple):
    """What a model carries from one segment of a sequence to the next.

    layers: of every layer. cache: of a cache; None where there is none.
    """

    layers: tuple[LayerState, ...]
    cache: RecentState | None = None


class ModelAux(NamedTuple):
    """layers: auxiliary outputs of each layer. balance_loss, z_loss: float [], means over
    layers. dropped: int32 [], expert choices that found no room. usage: summed over layers.
    expected_share, penalty: float [], means over layers. copied: float [B, T] in [0, 1], share
    of probability that comes from a cache; None without one.
    """

    layers: tuple[LayerAux, ...]
    balance_loss: jax.Array
    z_loss: jax.Array
    dropped: jax.Array
    usage: budget.Usage | budget.AlwaysOn
    expected_share: jax.Array
    penalty: jax.Array
    copied: jax.Array | None = None


def checked_mask(tokens: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The mask of tokens, int [B, T]: bool [B, T], of ones for None. Raises AssertionError for
    other shapes and types, which would broadcast into a wrong state."""
    chex.assert_rank(tokens, 2)
    if mask is None:
        mask = jnp.ones(tokens.shape, bool)
    chex.assert_equal_shape([tokens, mask])
    chex.assert_type([tokens, mask], [int, bool])
    return mask


def build(config: LayerConfig, count: int) -> list[MocaLayer]:
    """`count` layers, for a module's setup; with names and parameters that do not depend on
    `remat`."""
    # Argument 4 is `train`, which Python branches on.
    kind = nn.remat(MocaLayer, static_argnums=(4,)) if config.remat else MocaLayer
    return [kind(config) for _ in range(count)]


def initial_state(
    layers: Sequence[MocaLayer], batch: int, num_slots: int | None = None
) -> ModelState:
    """num_slots: enlarges every memory to S slots. Pointer heads (ring, loop, stack),
    association and priority queue heads use the extra slots; content heads do not."""
    return ModelState(tuple(layer.initial_state(batch, num_slots) for layer in layers))


def with_resets(state: ModelState, fresh: ModelState, reset: jax.Array) -> ModelState:
    """`fresh` for the sequences that start afresh, `state` for the others: arrays [B, …].
    reset: bool [B]."""

    def chosen(old, new):
        return jnp.where(reset.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, state, fresh)


class RunSettings(NamedTuple):
    """How a stack is run. train: whether experts have bounded room and explore. hardness: [] or
    [B], in [0, 1], of decisions that are made hard. multiplier: λ ≥ 0, float [], in logits."""

    train: bool
    hardness: jax.Array | float
    multiplier: jax.Array | float


def run(
    layers: Sequence[MocaLayer],
    x: jax.Array,
    mask: jax.Array,
    state: ModelState,
    settings: RunSettings,
    kinds: Kinds | None = None,
) -> tuple[jax.Array, ModelState, ModelAux]:
    """x [B, T, D] through every layer; returns x', the next state and auxiliary outputs.
    kinds: of the tokens that x embeds, for the first layer."""
    states, auxs = [], []
    for layer, before in zip(layers, state.layers, strict=True):
        x, after, aux = layer(x, mask, before, *settings, kinds)
        kinds = None
        states.append(after)
        auxs.append(aux)
    return x, ModelState(tuple(states)), collect(tuple(auxs))


def collect(layers: tuple[LayerAux, ...]) -> ModelAux:
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
        mean([aux.penalty for aux in layers]),
    )
