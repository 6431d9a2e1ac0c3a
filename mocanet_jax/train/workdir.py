"""The working directory of a run: is it usable, whose is it, and its config.json."""

from pathlib import Path

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.files import read_json, write_json

CHANGEABLE = ("model.budget.target", "train.max_steps", "train.max_minutes")
"""Fields that may change between the parts of one run."""


def check_workdir(workdir: Path, config: dict) -> None:
    """Raises UserError for what is no directory, or is that of another config."""
    try:
        usable = workdir.is_dir() or not workdir.exists()
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be used: {error.strerror}") from error
    if not usable:
        raise UserError(f"--workdir={workdir} is not a directory")
    saved = read_config(workdir)
    fields = differing_fields(config if saved is None else saved, config)
    fixed = [field for field in fields if field.split(" ")[0] not in CHANGEABLE]
    if fixed:
        raise UserError(
            f"{workdir} holds a run of another config: {'; '.join(fixed)}. Use another "
            f"--workdir; only {', '.join(CHANGEABLE)} can change in a run that goes on"
        )


def make_workdir(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be made a directory: {error.strerror}"
        ) from error


def claim_workdir(workdir: Path, config: dict) -> None:
    """Writes config.json where it is missing or differs."""
    if read_config(workdir) != config:
        try:
            write_json(workdir / "config.json", config)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot write into {workdir}: {reason}") from error


def differing_fields(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Names of fields that differ between two nested configs, with both values."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differing_fields(before, after, f"{prefix}{name}.")
        elif before != after:
            lines.append(f"{prefix}{name} ({before} there, {after} now)")
    return lines


def read_config(workdir: Path) -> dict | None:
    """The config that a working directory was trained with, None for a fresh one."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        return read_json(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); use another --workdir") from error
