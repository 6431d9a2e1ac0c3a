"""A short causal convolution, channel by channel, that skips padding.

Axes: B batch, T time, D width, W tokens that the convolution sees.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.rows import placed, taken


def causal_convolution(
    z: jax.Array, mask: jax.Array, recent: jax.Array, taps: dict[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Σ_w taps_w ⊙ z_w over each token and the W − 1 unmasked tokens before it.

    z: float [B, T, D]. mask: bool [B, T], False for padding, which is skipped wherever it
    stands. recent: float [B, W − 1, D], the unmasked tokens before z. taps: by name, float
    [W, D], the oldest token's first.
    Returns the sums by name, [B, T, D], of no account where masked, and the last W − 1
    unmasked tokens.

    Unmasked tokens are moved to the front, where the ones before a token stand next to it,
    and the sums are moved back.
    """
    chex.assert_rank([z, mask, recent], [3, 2, 3])
    chex.assert_type([z, mask, recent], [float, bool, float])
    width = recent.shape[1] + 1
    for each in taps.values():
        chex.assert_shape(each, (width, z.shape[2]))
    length, live = z.shape[1], jnp.sum(mask, axis=1, keepdims=True)
    unmasked, masked = (jnp.cumsum(x, axis=1) - 1 for x in (mask, ~mask))
    place = jnp.where(mask, unmasked, live + masked)
    step = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), place.shape)
    token = placed(step, place, length, 0)
    sequence = jnp.concatenate([recent, _permuted(z, token, place)], axis=1)

    def convolved(taps):
        seen = (taps[w][None, None] * sequence[:, w : w + length] for w in range(width))
        return _permuted(sum(seen), place, token)

    last = taken(sequence, live + jnp.arange(width - 1)[None])
    return {name: convolved(each) for name, each in taps.items()}, last


@jax.custom_vjp
def _permuted(x, at, back):
    """x [B, T, D] at a permutation int32 [B, T], of which `back` is the inverse: its transpose
    is then a gather too, where the gradient of a gather would be a scatter."""
    return taken(x, at)


_permuted.defvjp(
    lambda x, at, back: (taken(x, at), back), lambda back, g: (taken(g, back), None, None)
)


def looking_at(*lags: int) -> jax.nn.initializers.Initializer:
    """An initializer of taps, [W, D], that see the tokens so many steps back, and some
    noise."""

    def start(key, shape, dtype=jnp.float32):
        noise = 0.1 * jax.random.normal(key, shape, dtype)
        return noise.at[-1 - np.array(lags)].add(1.0)

    return start
