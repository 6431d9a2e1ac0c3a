"""A head, an expert and a task as a user writes them, outside of the package."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import mocanet_jax as moca
from mocanet_jax.core.addressing import Address


class LastState(NamedTuple):
    value: jax.Array


class Last(moca.Head):
    """Returns the value of the last token that wrote."""

    def projections(self):
        return {"value": moca.Projection(self.count * self.sizes.value_width)}

    def initial_state(self, batch, num_slots):
        return LastState(jnp.zeros((batch, self.count, self.sizes.value_width)))

    def __call__(self, z, projected, write_gate, mask, state, hardness):
        value = projected["value"].reshape(*mask.shape, self.count, -1)

        def step(held, token):
            value, write = token
            held = held + write[..., None] * (value - held)
            return held, held

        tokens = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (value, write_gate.open))
        last, read = jax.lax.scan(step, state.value, tokens)
        zero = jnp.zeros((*mask.shape, self.count, 1))
        address = Address(zero.astype(jnp.int32), zero)
        trace = moca.Trace(address, address, write_gate.open)
        return moca.HeadOutput(jnp.moveaxis(read, 0, 1), LastState(last), trace)


class Sine(nn.Module):
    """An expert."""

    hidden_dim: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(x.shape[-1])(jnp.sin(nn.Dense(self.hidden_dim)(x)))


@dataclass(frozen=True)
class EchoTask(moca.SequenceTask):
    """The last symbol, once more after the marker."""

    vocab_size: ClassVar[int] = 6
    blank: ClassVar[int] = 0
    marker: ClassVar[int] = 1

    def num_steps(self, length):
        return length + 1

    def answer_length(self, length):
        return 1

    def sample(self, key, batch, lengths, fit):
        length_key, symbol_key = jax.random.split(key)
        length = jax.random.randint(length_key, (batch, 1), lengths[0], lengths[1] + 1)
        steps = jnp.arange(self.num_steps(fit))[None]
        symbols = jax.random.randint(symbol_key, (batch, steps.size), 2, self.vocab_size)
        scored = steps == length
        tokens = jnp.where(steps < length, symbols, jnp.where(scored, self.marker, self.blank))
        last = jnp.take_along_axis(symbols, length - 1, axis=1)
        targets = jnp.where(scored, last, 0)
        return moca.Batch(tokens, targets, scored, steps <= length, length[:, 0])
