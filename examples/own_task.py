"""A task of one's own, trained by a config that names it.

    python examples/own_task.py
    mocanet train examples/own_task_config.py --workdir=runs/successor

The class is named in the config as `own_task:SuccessorTask`; no file of the package is touched.

Axes: B batch, N symbols of the longest input, A = N symbols of the longest answer.
"""

import tempfile
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp

import mocanet_jax as moca
from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask

NUM_DIGITS = 10


class SuccessorTask(TransductionTask):
    """Every digit of a string plus one, modulo ten.

    input   3 9 0 M · · ·
    target  · · · · 4 0 1

    Lengths are numbers of digits. Symbols: the digits.
    """

    num_symbols: ClassVar[int] = NUM_DIGITS

    def answer_length(self, length):
        return length

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], NOTHING beyond the answer's end."""
        return jnp.where(symbols == NOTHING, NOTHING, (symbols + 1) % NUM_DIGITS)


def main(workdir: Path | None = None):
    import own_task_config

    with tempfile.TemporaryDirectory() as folder:
        result = moca.train(own_task_config.get_config(), workdir or Path(folder) / "successor")
    accuracy = result.summary["eval/accuracy"]
    print(f"accuracy after {result.summary['trained_steps']} steps: {accuracy:.0%}")
    return result


if __name__ == "__main__":
    main()
