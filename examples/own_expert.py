"""An expert of one's own: any module that maps [..., D] to [..., D].

    python examples/own_expert.py

Parameters are made E times by the layer, and only chosen experts compute. In a config an expert
is named as module:Class and called with hidden_dim:

    mocanet train copy --config.model.experts.kind=own_expert:Maxout --workdir=runs/copy_maxout

with examples/ on PYTHONPATH.

Axes: B batch, T time, D width, F hidden width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import mocanet_jax as moca


class Maxout(nn.Module):
    """contract · max(W₁ x + b₁, W₂ x + b₂) (Goodfellow et al., 2013). hidden_dim: F.

    FLOPs per token are counted from the matrices, 2 (2 D F + F D); a module for which that is
    wrong has a method flops(width).
    """

    hidden_dim: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x: float [..., D]. Returns [..., D]."""
        pieces = nn.Dense(2 * self.hidden_dim, name="expand")(x)
        hidden = jnp.maximum(*jnp.split(pieces, 2, axis=-1))
        return nn.Dense(x.shape[-1], use_bias=False, name="contract")(hidden)


def main():
    config = moca.LayerConfig(
        width=32,
        controller=None,
        memory=None,
        experts=moca.ExpertsConfig(count=4, top_k=2, expert=Maxout(64)),
    )
    layer = moca.MocaLayer(config)
    x = jax.random.normal(jax.random.key(0), (2, 5, 32))
    variables = jax.jit(layer.init)(jax.random.key(1), x)
    y, _, aux = jax.jit(layer.apply)(variables, x)
    shapes = jax.tree.map(jnp.shape, variables["params"]["experts"])
    print(f"parameters of four experts: {shapes}")
    print(f"FLOPs per token of all four: {config.flops.experts:,.0f}")
    print(f"experts of the first token: {aux.experts.indices[0, 0]}, y {y.shape}")
    return config, y


if __name__ == "__main__":
    main()
