"""A trained model to pass on, as two small files; it can be used, and not trained on.

model.json             step, config, validation and what the task needs, as in a checkpoint
params.safetensors     parameters in half precision, and λ
"""

import copy
import hashlib
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import safetensors
from mocanet_jax.runtime.storage.files import write_json
from mocanet_jax.train.checkpoints.record import (
    LAYOUT,
    MODEL,
    Progress,
    Record,
    as_fields,
    read_packed,
)

ARRAYS = "params.safetensors"
MULTIPLIER = "multiplier"

PLACES = (
    ("data", "path"),
    ("data", "eval_file"),
    ("data", "soft_labels"),
    ("data", "pretrained_embeddings"),
    ("train", "init_from"),
)
"""Fields of the config that name files of the machine where it was trained."""


def write(folder: Path, step: int, record: Record, trained: Trained) -> None:
    """folder: is there, and empty. Raises OSError."""
    flat = flatten_dict(jax.tree.map(np.asarray, trained.params), sep=".")
    arrays = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in flat.items()
    }
    arrays[MULTIPLIER] = np.asarray(trained.multiplier)
    safetensors.save(folder / ARRAYS, arrays, {"step": str(step)})
    config = copy.deepcopy(record.progress.config)
    for section, name in PLACES:
        if name in config.get(section, {}):
            config[section][name] = ""
    record = record._replace(progress=record.progress._replace(config=config))
    digest = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
    own = {"layout": LAYOUT, "step": step, "sha256": digest}
    write_json(folder / MODEL, own | as_fields(record))


class PackedModel:
    """Read as checkpoints are, of which it is one.

    Raises UserError for files that are damaged, or of another layout.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        fields, self._record = read_packed(folder)
        self._step, self._digest = fields["step"], fields["sha256"]

    def steps(self) -> list[int]:
        return [self._step]

    def best_step(self) -> int:
        return self._step

    def record(self, step: int) -> Record:
        self._check(step)
        return self._record

    def progress(self, step: int) -> Progress:
        return self.record(step).progress

    def restore_trained(self, step: int, like: Trained) -> Trained:
        """`like` gives shapes, dtypes and shardings."""
        self._check(step)
        found = self._arrays()
        multiplier = found.pop(MULTIPLIER, None)
        try:
            trained = Trained(unflatten_dict(found, sep="."), multiplier)
            return jax.tree.map(_like, trained, like)
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._folder} is of another version of the model") from error

    def _arrays(self):
        path = self._folder / ARRAYS
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == self._digest:
                return safetensors.load(content)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        raise UserError(f"{path} is damaged: its SHA-256 is not what {MODEL} says")

    def _check(self, step):
        if step != self._step:
            raise UserError(f"{self._folder} has the model of step {self._step} alone")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def _like(array, like):
    if array.shape != like.shape:
        raise ValueError(f"{array.shape} against {like.shape}")
    return jax.device_put(array.astype(like.dtype), getattr(like, "sharding", None))
