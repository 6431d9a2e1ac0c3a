"""The MOCA layer in a Flax model and a training loop of one's own.

    python examples/layer_in_flax_model.py

The model tags every step of a series of three numbers with the index of the number that was
the largest two steps before. After training, the series is fed in two segments with the state
carried, which gives the logits of the whole.

Axes: B batch, T time, D width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import mocanet_jax as moca

STEPS = 60


class Tagger(nn.Module):
    """config: of the layer. num_tags: C."""

    config: moca.LayerConfig
    num_tags: int

    def setup(self):
        self.encode = nn.Dense(self.config.width)
        self.layer = moca.MocaLayer(self.config)
        self.norm = nn.RMSNorm()
        self.decode = nn.Dense(self.num_tags)

    def initial_state(self, batch):
        """Before the first step of B series."""
        return self.layer.initial_state(batch)

    def __call__(self, series, state=None, train=False):
        """series: float [B, T, n]. Returns logits [B, T, C], the next state and LayerAux."""
        x, state, aux = self.layer(self.encode(series), None, state, train=train)
        return self.decode(self.norm(x)), state, aux


def main():
    config = moca.LayerConfig(
        width=32,
        memory=moca.MemoryConfig(heads=(moca.Ring(2),), num_slots=16),
        experts=moca.ExpertsConfig(count=4, top_k=1, expert=moca.MlpExpert(32)),
    )
    model = Tagger(config, num_tags=3)
    series = jax.random.normal(jax.random.key(0), (16, 24, 3))
    tags = jnp.argmax(jnp.roll(series, 2, axis=1), axis=-1)
    # Parameters do not depend on T; a single step compiles fastest.
    params = jax.jit(model.init)(jax.random.key(1), series[:, :1])["params"]
    optimizer = optax.adam(1e-2)

    def loss(params, key):
        # The "router" stream draws the tokens that try an expert whose gate is closed.
        logits, _, aux = model.apply(
            {"params": params}, series, train=True, rngs={"router": key}
        )
        each = optax.softmax_cross_entropy_with_integer_labels(logits, tags)
        return each[:, 2:].mean() + 0.01 * aux.experts.balance_loss

    @jax.jit
    def step(params, moments, key):
        value, gradient = jax.value_and_grad(loss)(params, key)
        update, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, update), moments, value

    moments, losses = optimizer.init(params), []
    for i in range(STEPS):
        params, moments, value = step(params, moments, jax.random.key(i))
        losses.append(float(value))
    print(f"loss {losses[0]:.2f} → {losses[-1]:.2f} nats")

    apply = jax.jit(lambda *inputs: model.apply({"params": params}, *inputs))
    state = model.apply({"params": params}, len(series), method="initial_state")
    whole, _, _ = apply(series, state)
    first, state, _ = apply(series[:, :12], state)
    rest, state, _ = apply(series[:, 12:], state)
    difference = float(jnp.max(jnp.abs(whole - jnp.concatenate([first, rest], axis=1))))
    print(f"largest difference between whole and segments: {difference:.1e}")
    return losses, difference


if __name__ == "__main__":
    main()
