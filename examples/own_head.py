"""A memory head of one's own, trained by a config that names it.

    python examples/own_head.py
    mocanet train examples/own_head_config.py --workdir=runs/register

A register holds one value. A write moves it towards the new value by the write strength, and a
read returns it: a gated delta rule on a single slot, which is a linear recurrence, so time can
run in parallel. The class is named in the config as `own_head:Register`. The task is one that a
register solves and that the config, without a controller, leaves to it alone.

Axes: B batch, T time, D width, H heads of this kind, P value width.
"""

import tempfile
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

import mocanet_jax as moca
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.recurrence import linear_recurrence
from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at


class Register(moca.Head):
    """A register of value 0 at the start of a sequence. count: H.

    start: initial logit of the write strength.
    """

    start: float = 0.0

    def projections(self):
        opening = nn.initializers.constant(self.start)
        return {
            "value": moca.Projection(self.count * self.sizes.value_width),
            "strength": moca.Projection(self.count, opening),
        }

    def initial_state(self, batch: int, num_slots: int) -> jax.Array:
        """Float [B, H, P]. A register does not grow: num_slots is without effect."""
        return jnp.zeros((batch, self.count, self.sizes.value_width))

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> moca.HeadOutput:
        # The gate is 0 where it is closed and at masked tokens: the state stays as it is.
        strength = nn.sigmoid(projected["strength"]) * write_gate.open
        value = projected["value"].reshape(*mask.shape, self.count, -1)
        decay = jnp.broadcast_to(1 - strength[..., None], value.shape)
        inputs = strength[..., None] * value
        form = "associative" if self.sizes.parallel else "scan"
        flat = lambda x: x.reshape(*mask.shape, -1)
        held = linear_recurrence(flat(decay), flat(inputs), state.reshape(len(z), -1), form)
        held = held.reshape(value.shape)
        where = Address(
            jnp.zeros((*strength.shape, 1), jnp.int32), jnp.ones((*strength.shape, 1))
        )
        return moca.HeadOutput(held, held[:, -1], moca.Trace(where, where, strength))

    def flops(self) -> float:
        """Nothing beside the projections."""
        return 0.0


class LastDigitTask(TransductionTask):
    """The last digit before the marker.

    input   3 9 4 M ·
    target  · · · · 4
    """

    num_symbols: ClassVar[int] = 10

    def answer_length(self, length):
        return 1

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1]."""
        return symbols_at(symbols, length - 1)


def main(workdir: Path | None = None):
    import own_head_config

    with tempfile.TemporaryDirectory() as folder:
        result = moca.train(own_head_config.get_config(), workdir or Path(folder) / "register")
    accuracy = result.summary["eval/accuracy"]
    print(f"accuracy after {result.summary['trained_steps']} steps: {accuracy:.0%}")
    return result


if __name__ == "__main__":
    main()
