"""Texts in segments of one length, and what layers did with them put together again.

Axes: n segments, B batch, T time.
"""

import jax
import jax.numpy as jnp

from mocanet_jax.nn.stack import ModelAux


def segments(x: jax.Array, length: int) -> jax.Array:
    """[B, T, …] as [n, B, length, …], filled up with 0."""
    fill = -x.shape[1] % length
    x = jnp.pad(x, [(0, fill) if axis == 1 else (0, 0) for axis in range(x.ndim)])
    return jnp.moveaxis(x.reshape(x.shape[0], -1, length, *x.shape[2:]), 1, 0)


def joined(aux: ModelAux, weights: jax.Array, batch: int, length: int) -> ModelAux:
    """Of n segments, [n, …], as of whole texts of T = length. weights: float [n], shares of
    their words. batch: B; rows behind the first B read from the end, each segment by itself,
    and have their time reversed, as those of whole texts have."""

    def merged(x):
        if x.ndim < 3:  # a mean over the words of each segment
            return jnp.tensordot(weights, x, 1)
        return jnp.concatenate([in_a_row(x[:, :batch])[:, :length], last(x[::-1, batch:])])

    in_a_row = lambda x: jnp.concatenate([*x], axis=1)
    last = lambda x: in_a_row(x)[:, -length:]
    total = lambda parts: jax.tree.map(lambda x: jnp.sum(x, axis=0), parts)
    mean = lambda x: jnp.tensordot(weights, x, 1)
    layers = tuple(
        jax.tree.map(merged, layer)._replace(usage=total(layer.usage)) for layer in aux.layers
    )
    return ModelAux(
        layers,
        mean(aux.balance_loss),
        mean(aux.z_loss),
        total(aux.dropped),
        total(aux.usage),
        mean(aux.expected_share),
        mean(aux.penalty),
    )
