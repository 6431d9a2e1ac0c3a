"""Everything of a layer that is linear in its input, as one matrix product.

Axes: B batch, T time, D width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.precision import product


class Projection(NamedTuple):
    """A linear map to `features` numbers. bias_init: None for a map without a bias."""

    features: int
    bias_init: nn.initializers.Initializer | None = None
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init


Projections = dict[str, Projection]
"""What a module wants of its input, by name."""


def repeated(numbers) -> nn.initializers.Initializer:
    """An initializer that repeats `numbers` over a vector."""
    return lambda key, shape, dtype=jnp.float32: jnp.resize(jnp.array(numbers, dtype), shape)


class FusedProjections(nn.Module):
    """All projections of all owners: one product, where one for each would read the input as
    often and compute next to nothing.

    wanted: pairs of an owner's name and its projections. Parameters are OWNER_NAME/kernel [D,
    n] and OWNER_NAME/bias [n]."""

    wanted: tuple[tuple[str, tuple[tuple[str, Projection], ...]], ...]

    @nn.compact
    def __call__(self, z: jax.Array) -> dict[str, dict[str, jax.Array]]:
        """z: float [B, T, D]. Returns, by owner and name, float32 (at least) [B, T,
        features]."""
        flat = {
            (owner, name): projection
            for owner, projections in self.wanted
            for name, projection in projections
        }
        projected = {owner: {} for owner, _ in self.wanted}
        if not flat:
            return projected
        weights = [
            Linear(projection, name="_".join(key))(z.shape[-1])
            for key, projection in flat.items()
        ]
        kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*weights, strict=True))
        ends = np.cumsum([projection.features for projection in flat.values()])[:-1]
        values = jnp.split(product(z, kernel) + bias[None, None], ends, axis=-1)
        for (owner, name), value in zip(flat, values, strict=True):
            projected[owner][name] = value
        return projected


class Linear(nn.Module):
    """Kernel [D, n] and bias [n] of a projection, as nn.Dense makes and names them; a bias of
    zeros that is no parameter where there is none."""

    projection: Projection

    @nn.compact
    def __call__(self, width: int) -> tuple[jax.Array, jax.Array]:
        features, bias_init, kernel_init = self.projection
        kernel = self.param("kernel", kernel_init, (width, features))
        if bias_init is None:
            return kernel, jnp.zeros(features, kernel.dtype)
        return kernel, self.param("bias", bias_init, (features,))
