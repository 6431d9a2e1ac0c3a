"""What the entry points of studies share: flags, and a study from its start to its end."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import config_flags

from mocanet_jax import cli
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.studies import study
from mocanet_jax.studies.study import Cell
from mocanet_jax.studies.variants import Variant
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config.settings import check_settings


class Request(NamedTuple):
    """file: a config file, with :TASK where it is of several. overrides: of its fields, by
    dotted name. out: for all results."""

    file: str
    overrides: dict
    num_seeds: int
    processes: int
    out: Path


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    cli.define_config("File with get_config, without ablations.", values)
    numbers = {"lower_bound": 1, "upper_bound": 10_000, "flag_values": values}
    flags.DEFINE_integer("seeds", 3, "How many of 0, 1, … each variant runs with.", **numbers)
    flags.DEFINE_integer("processes", 1, "Runs at a time.", **numbers)
    flags.DEFINE_string(
        "out", None, "Where results go; runs/KIND/CONFIG by default.", flag_values=values
    )


def request(kind: str) -> Request:
    """What the flags request. Raises UserError for a config that cannot be studied."""
    flag = flags.FLAGS["config"]
    cli.config_value(flag)
    file = config_files.canonical(config_flags.get_config_filename(flag))
    overrides = config_flags.get_override_values(flag)
    if config_files.ablations_of(file):
        raise UserError(f"--config={file}: a study takes a config file without an ablation")
    if "seed" in overrides:
        raise UserError("--config.seed is what a study varies; say how many with --seeds")
    check_settings(flag.value)
    usual = Path("runs", kind, config_files.default_workdir(file).name)
    out = local_path(flags.FLAGS.out or usual)
    return Request(file, overrides, flags.FLAGS.seeds, flags.FLAGS.processes, out)


def conduct(
    wanted: Request,
    variants: list[Variant],
    equal: list[str],
    write: Callable[[study.Findings, Path], None],
    start: study.Start | None = None,
) -> None:
    """Runs what has no result yet, then writes what all runs found; leaves with exit code 1
    where a run failed.

    equal: names of variants that are not run. write: findings, and the folder for them.
    start: of one run; a process of mocanet_jax.main for None.
    """
    for name in equal:
        say(f"{name} equals the control with this config and is not run")
    if not variants:
        raise UserError("nothing is left to run; choose other ablations with --only")
    with left_by_sigterm():
        seeds = range(wanted.num_seeds)
        outcomes = study.conduct(
            variants, seeds, wanted.processes, wanted.out, say, start or start_run
        )
    failed = [outcome for outcome in outcomes if outcome.result is None]
    rows = study.rows(variants, outcomes)
    if rows:
        found = study.Findings(
            wanted.file, wanted.overrides, wanted.num_seeds, rows, equal, failed
        )
        write(found, wanted.out)
        say(f"tables, JSON and a picture are in {wanted.out}")
    leave_if_failed(len(failed), len(outcomes), wanted.out)


def start_run(cell: Cell) -> subprocess.Popen:
    """The cell's run, with its output in the cell's log."""
    flags = [f"--config.seed={cell.seed}", f"--workdir={cell.workdir}"]
    command = [sys.executable, "-m", "mocanet_jax.main", *cell.variant.flags, *flags]
    try:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        with cell.log.open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
    except OSError as error:
        raise UserError(f"cannot run into {cell.workdir}: {error.strerror}") from error


@contextmanager
def left_by_sigterm() -> Iterator[None]:
    """Within it SIGTERM raises SystemExit, so that a study ends all its runs."""
    leave = lambda *_: sys.exit(128 + signal.SIGTERM)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_if_failed(failed: int, runs: int, out: Path) -> None:
    """With exit code 1, where some of the runs failed."""
    if failed:
        say(f"{failed} of {runs} runs failed; logs are in {out}")
        sys.exit(1)


def numbers(name: str, kind: Callable[[str], float]) -> list:
    """What a flag holds, each made by `kind`. Raises UserError for what that refuses."""
    try:
        return [kind(text) for text in flags.FLAGS[name].value]
    except ValueError as error:
        raise UserError(f"--{name} takes numbers with spaces between: {error}") from error


def say(line: str) -> None:
    print(line, flush=True)
