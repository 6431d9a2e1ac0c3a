"""Trains models on a suite of tasks, each with the learning rate that suits it, and compares.

    python -m mocanet_jax.suite --learning_rates="0.001 0.003" --seeds=3 --minutes=10
    python -m mocanet_jax.suite --tasks=copy,parity_check --models=moca,lstm --out=runs/two

Seed 0 runs with every learning rate; the rate of lowest validation loss is that of the other
seeds. Without --learning_rates moca has that of the task's config, which was chosen for it, and
models for comparison are given SWEPT. Leaves tasks.md, tasks.json and tasks.png in OUT, and
each run in OUT/TASK/MODEL/lr_RATE/seed_S. The same command goes on where a suite was stopped.
Exit code 1: a run failed.
"""

import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from mocanet_jax import cli, studies
from mocanet_jax.errors import UserError
from mocanet_jax.training import study, task_suite
from mocanet_jax.training.settings import MOCA, check_settings
from mocanet_jax.training.task_suite import Entrant, Findings
from mocanet_jax.training.variants import learning_rates

SWEPT = (3e-4, 1e-3, 3e-3)
"""Learning rates for models for comparison where none are asked for."""


class Request(NamedTuple):
    """tasks: what takes part, by task. out: for all results. report: a document to put the
    table into, if any."""

    tasks: dict[str, list[Entrant]]
    num_seeds: int
    minutes: float
    processes: int
    out: Path
    report: Path | None


def main() -> None:
    conduct(request())


def request() -> Request:
    """What the flags ask for. Raises UserError for what cannot be run."""
    from mocanet_jax.training import task_suite_report

    asked = flags.FLAGS
    rates = list(dict.fromkeys(studies.numbers("learning_rates", float)))
    if not all(rate > 0 and math.isfinite(rate) for rate in rates):
        raise UserError(f"--learning_rates takes numbers above 0, not {rates}")
    report = Path(asked.report) if asked.report else None
    if report:
        task_suite_report.around_results(report)
    models = list(dict.fromkeys(asked.models))
    tasks = {
        file.stem: [
            Entrant(file.stem, model, _variants(file, model, rates, asked.minutes))
            for model in models
        ]
        for file in _files(Path(asked.configs), list(dict.fromkeys(asked.tasks)))
    }
    if not tasks or not models:
        raise UserError(f"nothing is left to run: tasks {[*tasks]}, models {models}")
    out = Path(asked.out)
    return Request(tasks, asked.seeds, asked.minutes, asked.processes, out, report)


def _files(folder, names):
    """The config files of these tasks of sequences, or of all where none is named."""
    sys.path.append(str(folder.absolute().parent))  # configs import each other from there
    files = {path.stem: path for path in sorted(folder.glob("*.py")) if _is_config(path)}
    sequences = [name for name, path in files.items() if _is_of_sequences(path)]
    for name in names:
        if name not in sequences:
            known = ", ".join(sequences) or "none"
            raise UserError(
                f"--tasks: {name!r} is no task of sequences in {folder}; {known} are"
            )
    return [files[name] for name in names or sequences]


def _is_config(path):
    try:
        return "get_config" in runpy.run_path(str(path))
    except Exception as error:  # a config file is the user's code and may raise anything
        raise UserError(f"{path}: {error}") from error


def _is_of_sequences(path):
    """Others have no range of lengths to go beyond."""
    return "longest" in cli.config_of([f"--config={path}"]).data


def _variants(file, model, rates, minutes):
    config = cli.config_of([f"--config={file}"])
    known = (MOCA, *config.baseline)
    if model not in known:
        raise UserError(f"--models: unknown model {model!r}; known: {', '.join(known)}")
    if not rates and model != MOCA:
        rates = SWEPT
    variants = learning_rates(cli.config_of, str(file), model, rates, minutes)
    check_settings(cli.config_of(list(variants[0].flags)))
    return variants


def conduct(asked: Request, start: Callable = study.start) -> None:
    """Runs what has no result yet, one task after another, and writes what all found until
    then; leaves with exit code 1 where a run failed. start: of one run (study.start)."""
    from mocanet_jax.training import task_suite_report

    findings, runs = Findings(asked.num_seeds, asked.minutes, [], []), 0
    with studies.left_by_sigterm():
        for entrants in asked.tasks.values():
            rows, outcomes = task_suite.conduct(
                entrants, asked.num_seeds, asked.processes, asked.out, studies.say, start
            )
            findings.rows.extend(rows)
            findings.failed.extend(one for one in outcomes if one.result is None)
            runs += len(outcomes)
            if findings.rows:
                task_suite_report.write(findings, asked.out)
    if findings.rows:
        studies.say(f"table, JSON and a picture are in {asked.out}")
        if asked.report:
            task_suite_report.put_into(asked.report, task_suite_report.markdown(findings))
            studies.say(f"the table is in {asked.report}")
    studies.leave_if_failed(len(findings.failed), runs, asked.out)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    own = {"flag_values": values}
    flags.DEFINE_string("configs", "configs", "Folder of config files.", **own)
    flags.DEFINE_list("tasks", [], "Names of them; all tasks of sequences by default.", **own)
    models = [MOCA, "lstm", "transformer", "deltanet"]
    flags.DEFINE_list("models", models, "Values of config.model.name.", **own)
    flags.DEFINE_spaceseplist(
        "learning_rates", "", "For moca the config's own by default, else three.", **own
    )
    flags.DEFINE_float("minutes", 10.0, "What a run may take; 0: no limit.", 0.0, **own)
    flags.DEFINE_integer("seeds", 3, "How many of 0, 1, … each model runs with.", 1, **own)
    flags.DEFINE_integer("processes", 1, "Runs at a time.", 1, **own)
    flags.DEFINE_string("out", "runs/tasks", "Where results go.", **own)
    flags.DEFINE_string("report", None, "Document to put the table into, between marks.", **own)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
