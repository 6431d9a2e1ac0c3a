"""A trained copy model on payloads of one's own.

Axes: L symbols of a payload, T time.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.nn.layer import LayerAux
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.synthetic.copy import NUM_SYMBOLS, CopyTask
from mocanet_jax.tasks.synthetic.sequence import Batch
from mocanet_jax.train.checkpoints.record import latest_record
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.loop import SILENT, train
from mocanet_jax.train.monitor import Monitor
from mocanet_jax.train.restore import restored

DELAY = 4
"""Blanks between a payload and the marker."""


class Copied(NamedTuple):
    """One sequence and what the model made of it. logits: float [1, T, V]. layers: auxiliary
    outputs of each, [1, T, …]. answer: int [L]. usage: share of the
    full compute."""

    batch: Batch
    logits: jax.Array
    layers: tuple[LayerAux, ...]
    answer: np.ndarray
    usage: float


class CopyPredictor:
    """The best checkpoint of a copy run.

    multiplier: λ that training ended with. longest: most symbols of a payload; all payloads are
    padded to it, so that one program is compiled.
    Raises UserError where there is no such run.
    """

    def __init__(self, workdir: Path):
        run = restored(workdir)
        if not isinstance(run.task, CopyTask):
            raise UserError(f"{workdir} holds a {run.config.task} run, not of the copy task")
        self.step, self.task, self.model = run.step, run.task, run.model
        self.multiplier, self.longest = float(run.trained.multiplier), run.task.longest
        self._trained, self._run = run.trained, jax.jit(self._sequence)

    def _sequence(self, trained, payload, length):
        batch = self.task.sequences(payload, length, jnp.full((1, 1), DELAY))
        logits, _, aux = trained.apply(self.model, batch.tokens, mask=batch.mask)
        return batch, logits, aux.layers, aux.usage.shares()["total"]

    def copy(self, payload: Sequence[int], multiplier: float | None = None) -> Copied:
        """payload: symbols from 1 to NUM_SYMBOLS, at least one and at most `longest`.
        multiplier: λ ≥ 0, in logits; None for that of training. Raises UserError for another
        payload."""
        length = len(payload)
        if not 1 <= length <= self.longest:
            raise UserError(f"a sequence has 1 to {self.longest} symbols, not {length}")
        if not all(1 <= symbol <= NUM_SYMBOLS for symbol in payload):
            raise UserError(f"symbols are numbers from 1 to {NUM_SYMBOLS}")
        padded = np.ones((1, self.longest), np.int32)
        padded[0, :length] = payload
        multiplier = self.multiplier if multiplier is None else multiplier
        trained = self._trained._replace(multiplier=np.float32(multiplier))
        made = self._run(trained, padded, np.full((1, 1), length, np.int32))
        batch, logits, layers, usage = jax.device_get(made)
        answer = np.argmax(logits[0], axis=-1)[batch.scored[0]]
        return Copied(batch, logits, layers, answer, float(usage))


def is_finished(workdir: Path) -> bool:
    """Whether there is a run that needs no further training."""
    record = latest_record(workdir)
    return record is not None and record.progress.finished


def train_copy(workdir: Path, monitor: Monitor = SILENT) -> None:
    """Trains configs/copy.py, or goes on with it, with a final evaluation of seconds. Raises as
    `train` does."""
    train(copy_config(), workdir, monitor)


def copy_config() -> ConfigDict:
    config = config_files.load("copy")
    config.eval.update(lengths=(10, 60), long_lengths=())
    return config
