"""Checks of a config beyond its types, and what evaluation may change of it."""

import math
from collections.abc import Mapping

from ml_collections import ConfigDict

from mocanet_jax.errors import UserError

MOCA = "moca"
"""The config.model.name of MOCA-Net."""

EVALUATION_DATA = ("data.path", "data.eval_file")
"""Fields that say where to evaluate, not what was trained."""

WHOLE_NUMBERS = (
    "batch_size",
    "accumulate_steps",
    "max_steps",
    "shortest",
    "log_every",
    "eval_every",
    "save_every",
    "nonfinite_patience",
)
"""Fields of config.training that are at least 1."""

TRAINING_RANGES = {
    "learning_rate": (lambda x: x > 0, "above 0"),
    "gradient_clip_norm": (lambda x: x > 0, "above 0"),
    "curriculum_growth": (lambda x: x > 0, "above 0"),
    "weight_decay": (lambda x: x >= 0, "at least 0"),
    "state_noise": (lambda x: x >= 0, "at least 0"),
    "stop_at_loss": (lambda x: x >= 0, "at least 0"),
    "max_minutes": (lambda x: x >= 0, "at least 0"),
    "adam_b2": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "average_decay": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "curriculum_accuracy": (lambda x: 0 <= x <= 1, "in [0, 1]"),
    "curriculum_retreat": (lambda x: 0 <= x <= 1, "in [0, 1]"),
}
"""What a number has to satisfy, which NaN never does, and how that is said."""


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for training and evaluation settings that cannot work."""
    training = config.training
    for name in WHOLE_NUMBERS:
        if training[name] < 1:
            raise UserError(f"config.training.{name} must be at least 1, not {training[name]}")
    if training.on_nonfinite not in ("stop", "skip"):
        raise UserError(
            f'config.training.on_nonfinite must be "stop" or "skip", not '
            f"{training.on_nonfinite!r}"
        )
    for name, (holds, wanted) in TRAINING_RANGES.items():
        if name in training and not holds(training[name]):  # older runs lack some
            raise UserError(f"config.training.{name} must be {wanted}, not {training[name]}")
    if not 0 <= training.warmup_steps < training.max_steps:
        raise UserError(
            f"config.training.warmup_steps must be between 0 and max_steps "
            f"{training.max_steps}, not {training.warmup_steps}"
        )
    if training.save_every % training.eval_every:
        raise UserError(
            f"config.training.save_every ({training.save_every}) must be a multiple of "
            f"eval_every ({training.eval_every}): every checkpoint carries its validation"
        )
    for name in (
        "price_rate",
        "budget_loss_weight",
        "budget_loss_when_grown",
        "commitment_loss_weight",
    ):
        if not config.model[name] >= 0:
            raise UserError(f"config.model.{name} must be at least 0, not {config.model[name]}")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed must be in [0, 2^32), not {config.seed}")
    _check_finite("config", config)
    for name, value in config.eval.items():
        numbers = value if isinstance(value, tuple | list) else [value]
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise UserError(f"config.eval.{name} takes whole numbers from 1 on, not {value}")


def _check_finite(name, value):
    if isinstance(value, ConfigDict):
        for field, inner in value.items():
            _check_finite(f"{name}.{field}", inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a finite number, not {value}")


def is_moca(config: Mapping) -> bool:
    """Whether a config is of MOCA-Net, as older ones all are, whose parts are chosen."""
    return config["model"].get("name", MOCA) == MOCA


def plain(config: ConfigDict) -> dict:
    """The config as values that JSON returns unchanged, without `mesh`: the devices that a run
    is on are no part of what is trained, and may be others when it goes on."""
    return {
        name: plain(value)
        if isinstance(value, ConfigDict)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in config.items()
        if name != "mesh"
    }


def override(restored: ConfigDict, name: str, value) -> None:
    """Sets what evaluation may set; anything else has to agree with the checkpoint."""
    section, _, field = name.partition(".")
    if section in ("eval", "mesh"):
        return
    part = restored[section] if field else restored
    trained = part[field or section]
    if name in EVALUATION_DATA:
        part[field] = value
    elif trained != value:
        raise UserError(
            f"--config.{name}={value} contradicts the checkpoint, which was trained with "
            f"{trained}; only config.eval fields can change in evaluation, "
            f"and {', '.join(EVALUATION_DATA)}"
        )
