"""A layer of LSTM (core/lstm.py).

Axes: B batch, T time, D width, V vocabulary.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.lstm import LstmState, lstm

FORGET_START = 1.0
"""Initial bias of the forget gate (Jozefowicz et al., 2015)."""


class Kinds(NamedTuple):
    """Inputs that depend on the token alone. features: float [V, D], of every kind of token.
    tokens: int [B, T] in [0, V)."""

    features: jax.Array
    tokens: jax.Array


def kinds_of(embedding: jax.Array, tokens: jax.Array, train: bool) -> Kinds | None:
    """Of embeddings [V, D] where that saves time: in training, whose steps have many tokens,
    with fewer kinds of them than features. None elsewhere."""
    kinds, width = embedding.shape
    return Kinds(embedding, tokens) if train and kinds < width else None


def normed(norm: nn.Module, reader: nn.Module, x: jax.Array, kinds: Kinds | None):
    """What `reader` is given of x [B, T, D] behind `norm`; an LSTM the kinds of the tokens that
    x embeds, where there are any."""
    if kinds is None or not isinstance(reader, Lstm):
        return norm(x)
    return kinds._replace(features=norm(kinds.features))


class Lstm(nn.Module):
    """One layer as a scan over time; what depends on the input alone is computed before it."""

    width: int

    @nn.nowrap
    def flops(self) -> float:
        """Forward FLOPs per token: two products with 4D outputs, and three multiplications and
        a sum in each cell."""
        return 16.0 * self.width**2 + 4.0 * self.width

    def initial_state(self, batch: int, num_slots: int | None = None) -> LstmState:
        return LstmState(jnp.zeros((batch, self.width)), jnp.zeros((batch, self.width)))

    @nn.compact
    def __call__(
        self, z: jax.Array | Kinds, mask: jax.Array, state: LstmState
    ) -> tuple[jax.Array, LstmState]:
        """z: [B, T, D], or the kinds of its tokens, each of which is multiplied once; mask:
        bool [B, T]. Returns h, [B, T, D], and the next state."""
        dense = nn.Dense(4 * self.width, bias_init=_remembering, name="input")
        if isinstance(z, Kinds):
            inputs = jnp.dot(nn.one_hot(z.tokens, len(z.features)), dense(z.features))
        else:
            inputs = dense(z)
        recurrent = self.param("recurrent", _orthogonal, (self.width, 4 * self.width))
        return lstm(inputs, recurrent, mask, state)


def _remembering(key, shape, dtype=jnp.float32):
    """0, and FORGET_START for the second quarter."""
    return jnp.repeat(jnp.array([0.0, FORGET_START, 0.0, 0.0], dtype), shape[0] // 4)


def _orthogonal(key, shape, dtype=jnp.float32):
    """An orthogonal [D, D] for each of the four gates (Saxe et al., 2013)."""
    square = nn.initializers.orthogonal()
    parts = [square(k, (shape[0], shape[0]), dtype) for k in jax.random.split(key, 4)]
    return jnp.concatenate(parts, axis=1)
