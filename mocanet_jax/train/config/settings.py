"""Checks of a config beyond its types, and what evaluation may change of it."""

import math
from collections.abc import Mapping
from functools import reduce

from ml_collections import ConfigDict

from mocanet_jax.runtime.errors import UserError

MOCA = "moca"
"""The config.model.name of MOCA-Net."""

EVALUATION_DATA = (
    "data.path",
    "data.eval_file",
    "data.text_column",
    "data.label_column",
    "data.encoding",
)
"""Fields that say where to evaluate, not what was trained."""

OF_THE_STATE = ("model.slot_bits",)
"""Fields of the state that a model carries, on which its parameters do not depend."""

WHOLE_NUMBERS = (
    "batch_size",
    "accumulate_steps",
    "max_steps",
    "log_every",
    "eval_every",
    "save_every",
    "nonfinite_patience",
)
"""Fields of config.train that are at least 1."""

MOST_LAYERS = 1_000
"""Each is built by itself, before the memory of all can be estimated."""

CHOICES = {"on_nonfinite": ("stop", "skip"), "on_changed_data": ("stop", "accept")}
"""Fields of config.train that are words."""

RANGES = {
    "train.curriculum.shortest": (lambda x: x >= 1, "at least 1"),
    "train.curriculum.growth": (lambda x: x > 0, "above 0"),
    "train.curriculum.accuracy": (lambda x: 0 <= x <= 1, "in [0, 1]"),
    "train.curriculum.retreat": (lambda x: 0 <= x <= 1, "in [0, 1]"),
    "model.budget.base_cost_when_grown": (lambda x: x >= 0, "at least 0"),
    "model.memory.quantisation_penalty": (lambda x: x >= 0, "at least 0"),
    "train.warmup_steps": (lambda x: x >= 0, "at least 0"),
    "train.learning_rate": (lambda x: x > 0, "above 0"),
    "train.gradient_clip_norm": (lambda x: x > 0, "above 0"),
    "train.weight_decay": (lambda x: x >= 0, "at least 0"),
    "train.state_noise": (lambda x: x >= 0, "at least 0"),
    "train.stop_at_loss": (lambda x: x >= 0, "at least 0"),
    "train.max_minutes": (lambda x: x >= 0, "at least 0"),
    "train.adam_b2": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "train.average_decay": (lambda x: 0 <= x < 1, "in [0, 1)"),
}
"""What a number has to satisfy, which NaN never does, and how that is said."""


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for training and evaluation settings that cannot work."""
    training = config.train
    for name in WHOLE_NUMBERS:
        if training[name] < 1:
            raise UserError(f"config.train.{name} must be at least 1, not {training[name]}")
    for name, choices in CHOICES.items():
        if training[name] not in choices:
            raise UserError(
                f'config.train.{name} must be "{choices[0]}" or "{choices[1]}", '
                f"not {training[name]!r}"
            )
    for name, (holds, wanted) in RANGES.items():
        value = field(config, name)
        if not holds(value):
            raise UserError(f"config.{name} must be {wanted}, not {value}")
    if training.save_every % training.eval_every:
        raise UserError(
            f"config.train.save_every ({training.save_every}) must be a multiple of "
            f"eval_every ({training.eval_every}): every checkpoint carries its validation"
        )
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed must be in [0, 2^32), not {config.seed}")
    _check_finite("config", config)
    for name, value in config.eval.items():
        numbers = value if isinstance(value, tuple | list) else [value]
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise UserError(f"config.eval.{name} takes whole numbers from 1 on, not {value}")


def field(config: Mapping, name: str):
    """The value of a field by its dotted name."""
    return reduce(lambda part, key: part[key], name.split("."), config)


def _check_finite(name, value):
    if isinstance(value, ConfigDict):
        for field, inner in value.items():
            _check_finite(f"{name}.{field}", inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a finite number, not {value}")
    elif isinstance(value, tuple | list):
        for inner in value:
            _check_finite(name, inner)
    elif isinstance(value, int) and name != "config.seed" and abs(value) >= 2**31:
        raise UserError(f"{name} must be below 2^31, not {value}")
    elif name.endswith(".num_layers") and value > MOST_LAYERS:
        raise UserError(f"{name} must be at most {MOST_LAYERS:,}, not {value:,}")


def is_moca(config: Mapping) -> bool:
    """Whether a config is of MOCA-Net, as older ones all are, whose parts are chosen."""
    return config["model"].get("name", MOCA) == MOCA


def budget_target(config: Mapping) -> float | None:
    """The share of the full compute that a run is held to, None where none can bind, nor is
    known."""
    budget = config.get("model", {}).get("budget")
    if budget is None or not is_moca(config) or budget["routing"] != "dynamic":
        return None
    return budget["target"] if budget["target"] < 1 else None


def plain(config: ConfigDict) -> dict:
    """The config in plain containers, without `mesh`: the devices that a run is on are no part
    of what is trained, and may be others when it goes on."""
    return {
        name: plain(value) if isinstance(value, ConfigDict) else value
        for name, value in config.items()
        if name != "mesh"
    }


def _values(value):
    """Equal for a list and a tuple of the same values."""
    if isinstance(value, ConfigDict):
        return {name: _values(inner) for name, inner in plain(value).items()}
    return list(value) if isinstance(value, tuple) else value


def override(restored: ConfigDict, name: str, value) -> None:
    """Sets what evaluation may set; anything else has to agree with the checkpoint."""
    path, _, last = name.rpartition(".")
    if path.split(".")[0] in ("eval", "mesh"):
        return
    part = field(restored, path) if path else restored
    trained = part.get(last)
    if name in (*EVALUATION_DATA, *OF_THE_STATE):
        part[last] = value
    elif _values(trained) != _values(value):
        raise UserError(
            f"--config.{name}={value} contradicts the checkpoint, which was trained with "
            f"{trained}; only config.eval fields can change in evaluation, "
            f"and {', '.join((*EVALUATION_DATA, *OF_THE_STATE))}"
        )
