"""Causal attention with rotary positions (Vaswani et al., 2017; Su et al., 2021, "RoFormer").

Axes: B batch, T time, N tokens that the state has room for, D width, H heads,
P = D/H width per head.
"""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.nn.models.baseline import BaselineSpec

ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class TransformerSpec(BaselineSpec):
    """num_heads: H. context: N of a state by default, of the longest sequence
    in training."""

    num_heads: int
    context: int

    def __post_init__(self):
        super().__post_init__()
        if self.context < 2:
            raise ValueError(f"a window needs at least 2 tokens, not {self.context}")
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"width {self.width} is not divisible by twice {self.num_heads} heads: "
                "positions turn pairs of numbers"
            )

    @property
    def window(self) -> int:
        return self.context

    def mixer(self) -> nn.Module:
        return Attention(self.width, self.num_heads, self.context)

    def mixer_flops(self) -> float:
        """Four projections, and scores and means over N tokens: what is computed, though a
        token sees (N + 1)/2 of them on average. A longer context costs more."""
        return 8.0 * self.width**2 + 4.0 * self.context * self.width

    def slots_for(self, steps: int) -> int:
        return steps


class AttentionState(NamedTuple):
    """The tokens so far, without padding, in order.

    keys: float [B, N, H, P], turned to their positions. values: float [B, N, H, P].
    length: int32 [B], how many of the N there are; the others are 0.
    """

    keys: jax.Array
    values: jax.Array
    length: jax.Array


class Attention(nn.Module):
    """Every token attends to itself and those before it that are not masked.

    Keys and values are put in the state, at their positions, and attended to there: a sequence
    in segments is computed as a whole one is. A position is the number of unmasked tokens
    before. A token that finds the state full has no output but NaN, rather than one that
    missed something.
    """

    width: int
    num_heads: int
    context: int

    def initial_state(self, batch: int, num_slots: int | None = None) -> AttentionState:
        """num_slots: N; the context if None."""
        room = self.context if num_slots is None else num_slots
        shape = (batch, room, self.num_heads, self.width // self.num_heads)
        return AttentionState(
            jnp.zeros(shape), jnp.zeros(shape), jnp.zeros((batch,), jnp.int32)
        )

    @nn.compact
    def __call__(
        self, z: jax.Array, mask: jax.Array, state: AttentionState
    ) -> tuple[jax.Array, AttentionState]:
        """z: [B, T, D]; mask: bool [B, T]. Returns [B, T, D] and the next state."""
        batch, time, _ = z.shape
        head = self.width // self.num_heads
        room = state.keys.shape[1]
        counted = state.length[:, None] + jnp.cumsum(mask, axis=1, dtype=jnp.int32)
        position = jnp.maximum(counted - 1, 0)
        qkv = nn.Dense(3 * self.width, use_bias=False, name="input")(z)
        qkv = qkv.reshape(batch, time, 3, self.num_heads, head)
        query, key = (rotated(qkv[:, :, n], position) for n in (0, 1))

        place = jnp.where(mask, position, room)  # outside of the state, and dropped
        put = jax.vmap(lambda held, at, new: held.at[at].set(new, mode="drop"))
        keys, values = put(state.keys, place, key), put(state.values, place, qkv[:, :, 2])

        scores = jnp.einsum("bthp,bnhp->bhtn", query, keys) * head**-0.5
        seen = jnp.arange(room)[None, None] <= position[..., None]
        weights = nn.softmax(jnp.where(seen[:, None], scores, -jnp.inf))
        mixed = jnp.einsum("bhtn,bnhp->bthp", weights, values).reshape(z.shape)
        output = nn.Dense(self.width, use_bias=False, name="output")(mixed)
        too_late = mask & (position >= room)
        output = jnp.where(too_late[..., None], jnp.nan, output)
        return output, AttentionState(keys, values, counted[:, -1])


def rotated(x: jax.Array, position: jax.Array) -> jax.Array:
    """The pairs (x_i, x_{i + P/2}) turned by the angle position · base^(−2i/P).

    x: float [B, T, H, P], P even. position: int [B, T].
    Products of a turned query and a turned key depend on positions by their difference alone
    (Su et al., 2021, eq. 16; pairs as in GPT-NeoX).
    """
    half = x.shape[-1] // 2
    rate = ROTARY_BASE ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = (position[..., None] * rate[None, None])[:, :, None]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
