"""The working directory of a run: is it usable, whose is it, and its config.json."""

import os
from pathlib import Path

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import read_json, write_json
from mocanet_jax.train.checkpoints.record import is_packed, latest_record

PROLONGING = (
    "model.budget.target",
    "train.max_steps",
    "train.max_minutes",
    "train.stop_at_loss",
    "train.on_changed_data",
    "data.path",
)
"""Fields with whose change a finished run trains on."""

CHANGEABLE = (
    *PROLONGING,
    "train.on_nonfinite",
    "train.nonfinite_patience",
    "train.log_every",
    "train.eval_every",
    "train.save_every",
    "eval.lengths",
    "eval.long_lengths",
    "eval.test_sequences",
    "eval.sequences_per_length",
    "eval.sequences_per_long_length",
    "eval.segment",
    "eval.streams",
    "eval.validation_tokens",
    "quality.target_accuracy",
)
"""Fields that may change between the parts of one run: none says what was trained so far."""


LONGEST_NAME, LONGEST_PATH = 255, 3800
"""Bytes. The limit of a path leaves room for names below it within the 4,096 of Linux."""

SHOWN = 300
"""Characters of a path in a message."""


def check_workdir(workdir: Path, config: dict) -> None:
    """Raises UserError for what is no directory, or is that of another config."""
    if problem := _problem(workdir):
        shown = str(workdir)[:SHOWN].replace("\0", "\\0")
        raise UserError(f"--workdir={shown} {problem}")
    if is_packed(workdir):
        raise UserError(
            f"{workdir} holds a packed model, which is not trained on; start from it, by "
            f"--config.train.init_from={workdir}, in another --workdir"
        )
    saved = read_config(workdir)
    fields = differing_fields(config if saved is None else saved, config)
    fixed = [field for field in fields if field.split(" ")[0] not in CHANGEABLE]
    if fixed:
        raise UserError(
            f"{workdir} holds a run of another config: {'; '.join(fixed)}. Use another "
            f"--workdir; only {', '.join(CHANGEABLE)} can change in a run that goes on"
        )


def _problem(workdir) -> str | None:
    """Why a path cannot be a directory to write into, or None. Writes nothing."""
    if "\0" in str(workdir):
        return "cannot be used: no path holds a null character"
    names = [os.fsencode(part) for part in workdir.absolute().parts]
    if max(map(len, names)) > LONGEST_NAME or sum(len(n) + 1 for n in names) > LONGEST_PATH:
        return "cannot be used: File name too long"
    try:
        if workdir.exists():
            return None if workdir.is_dir() else "is not a directory"
        if workdir.is_symlink():
            return "is a broken symbolic link"
        place = next(parent for parent in workdir.absolute().parents if parent.exists())
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not place.is_dir():
        return f"cannot be made: {place} is not a directory"
    writable = os.access(place, os.W_OK | os.X_OK)
    return None if writable else f"cannot be made: {place} cannot be written"


def make_workdir(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be made a directory: {error.strerror}"
        ) from error


def claim_workdir(workdir: Path, config: dict) -> None:
    """Writes config.json, for people to read, where it is missing or differs."""
    path = workdir / "config.json"
    try:
        if _read_json(path) != _json_form(config):
            write_json(path, config)
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write into {workdir}: {reason}") from error


def changed_data(before: dict, now: dict, accepts: bool) -> list[str]:
    """Lines on the parts of the data that are not what they were when the run was last saved.

    before, now: of Task.record. Raises UserError with them unless `accepts`.
    """
    then, parts = before.get("data", {}), now.get("data", {})
    lines = [
        f"the {name} data changed since the run was last saved (now {found['texts']:,} texts, "
        f"before {then[name]['texts']:,})"
        for name, found in parts.items()
        if name in then and then[name] != found
    ]
    if lines and not accepts:
        raise UserError(
            f"{'; '.join(lines)}; bring it back, use another --workdir, or pass "
            "--config.train.on_changed_data=accept"
        )
    return lines


def differing_fields(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Names of fields that differ between two nested configs, with both values."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differing_fields(before, after, f"{prefix}{name}.")
        elif _json_form(before) != _json_form(after):
            lines.append(f"{prefix}{name} ({before} there, {after} now)")
    return lines


def read_config(workdir: Path) -> dict | None:
    """The config that a working directory was last trained with, None for a fresh one: of its
    newest checkpoint, or of config.json where there is none yet.

    Raises UserError for a config.json that is of something else.
    """
    if record := latest_record(workdir):
        return record.progress.config
    path = workdir / "config.json"
    if not path.exists() or not path.stat().st_size:
        return None
    config = _read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise UserError(f"{path} is not the config of a run; use another --workdir")
    return _with_tuples(config)


def _read_json(path):
    """What a file holds, None where it holds no JSON."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _with_tuples(value):
    """A config has tuples where its JSON has lists, and flags set tuples alone."""
    if isinstance(value, dict):
        return {name: _with_tuples(inner) for name, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _json_form(value):
    """As JSON returns it: lists for tuples."""
    if isinstance(value, dict):
        return {name: _json_form(inner) for name, inner in value.items()}
    return [*map(_json_form, value)] if isinstance(value, tuple | list) else value
