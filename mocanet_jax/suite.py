"""Trains models on a suite of tasks, each with the learning rate that suits it, and compares.

    python -m mocanet_jax.suite --learning_rates="0.001 0.003" --seeds=3 --minutes=10
    python -m mocanet_jax.suite --tasks=copy,parity_check --models=moca,lstm --out=runs/two

Seed 0 runs with every learning rate; the rate of lowest validation loss is that of the other
seeds. Without --learning_rates moca has that of the task's config, which was chosen for it, and
baselines are given SWEPT. Leaves tasks.md, tasks.json and tasks.png in OUT, and
each run in OUT/TASK/MODEL/lr_RATE/seed_S. The same command goes on where a suite was stopped.
Exit code 1: a run failed.
"""

import math
import runpy
from pathlib import Path
from typing import NamedTuple

from absl import flags

from mocanet_jax import cli, study_cli
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.studies import study, task_suite
from mocanet_jax.studies.task_suite import Entrant, SuiteFindings
from mocanet_jax.studies.variants import learning_rates
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config.settings import MOCA, check_settings

SWEPT = (3e-4, 1e-3, 3e-3)
"""Learning rates for baselines where none are given."""


class SuiteRequest(NamedTuple):
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


def request() -> SuiteRequest:
    """What the flags request. Raises UserError for what cannot be run."""
    from mocanet_jax.studies import task_suite_report

    wanted = flags.FLAGS
    rates = list(dict.fromkeys(study_cli.numbers("learning_rates", float)))
    if not all(rate > 0 and math.isfinite(rate) for rate in rates):
        raise UserError(f"--learning_rates takes numbers above 0, not {rates}")
    report = local_path(wanted.report) if wanted.report else None
    if report:
        task_suite_report.around_results(report)
    models = list(dict.fromkeys(wanted.models))
    tasks = {
        task: [
            Entrant(task, model, _variants(task, file, model, rates, wanted.minutes))
            for model in models
        ]
        for task, file in _files(wanted.configs, list(dict.fromkeys(wanted.tasks))).items()
    }
    if not tasks or not models:
        raise UserError(f"nothing is left to run: tasks {[*tasks]}, models {models}")
    out = local_path(wanted.out)
    return SuiteRequest(tasks, wanted.seeds, wanted.minutes, wanted.processes, out, report)


def _files(folder, names):
    """Config files, with :TASK where one is of several tasks, by the names of their tasks: of
    these tasks of sequences, or of all where none is named."""
    folder = local_path(folder) if folder else config_files.shipped()
    files = {}
    for path in sorted(folder.glob("*.py")):
        config = _run(path)
        if "get_config" in config:
            files |= {name: f"{path}:{name}" for name in config.get("TASKS", ())}
            files |= {} if "TASKS" in config else {path.stem: str(path)}
    sequences = {name: file for name, file in files.items() if _is_of_sequences(file)}
    for name in names:
        if name not in sequences:
            known = ", ".join(sequences) or "none"
            raise UserError(
                f"--tasks: {name!r} is no task of sequences in {folder}; {known} are"
            )
    return {name: sequences[name] for name in names or sequences}


def _run(path):
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UserError(f"{path}: {error}") from error


def _is_of_sequences(file):
    """Others have no range of lengths to go beyond."""
    return "longest" in cli.config_of([f"--config={file}"]).data


def _variants(task, file, model, rates, minutes):
    config = cli.config_of([f"--config={file}"])
    known = (MOCA, *config.baseline)
    if model not in known:
        raise UserError(f"--models: unknown model {model!r}; known: {', '.join(known)}")
    if not rates and model != MOCA:
        rates = SWEPT
    variants = learning_rates(cli.config_of, task, file, model, rates, minutes)
    check_settings(cli.config_of(list(variants[0].flags)))
    return variants


def conduct(wanted: SuiteRequest, start: study.Start = study_cli.start_run) -> None:
    """Runs what has no result yet, one task after another, and writes what all found until
    then; leaves with exit code 1 where a run failed. start: of one run (study.Start)."""
    from mocanet_jax.studies import task_suite_report

    findings, runs = SuiteFindings(wanted.num_seeds, wanted.minutes, [], []), 0
    study_cli.say(_extent(wanted))
    with study_cli.left_by_sigterm():
        for entrants in wanted.tasks.values():
            rows, outcomes = task_suite.conduct(
                entrants, wanted.num_seeds, wanted.processes, wanted.out, study_cli.say, start
            )
            findings.rows.extend(rows)
            findings.failed.extend(one for one in outcomes if one.result is None)
            runs += len(outcomes)
            if findings.rows:
                task_suite_report.write(findings, wanted.out)
    if findings.rows:
        study_cli.say(f"table, JSON and a picture are in {wanted.out}")
        if wanted.report:
            task_suite_report.put_into(wanted.report, task_suite_report.markdown(findings))
            study_cli.say(f"the table is in {wanted.report}")
    study_cli.leave_if_failed(len(findings.failed), runs, wanted.out)


def _extent(wanted):
    """How many runs there are, and what they take where their minutes are limited."""
    entrants = [one for of_task in wanted.tasks.values() for one in of_task]
    runs = sum(len(one.variants) + wanted.num_seeds - 1 for one in entrants)
    line = f"{runs} runs on {len(wanted.tasks)} tasks"
    if not wanted.minutes:
        return line
    limit = study.duration(60 * wanted.minutes * runs / wanted.processes)
    return f"{line}, {wanted.minutes:g} minutes each: at most about {limit}"


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    own = {"flag_values": values}
    flags.DEFINE_string("configs", None, "Folder of configs; the package's by default.", **own)
    flags.DEFINE_list("tasks", [], "Names of them; all tasks of sequences by default.", **own)
    models = [MOCA, "lstm", "transformer", "deltanet"]
    flags.DEFINE_list("models", models, "Values of config.model.name.", **own)
    flags.DEFINE_spaceseplist(
        "learning_rates", "", "For moca the config's own by default, else three.", **own
    )
    flags.DEFINE_float("minutes", 10.0, "What a run may take; 0: no limit.", 0.0, **own)
    flags.DEFINE_integer(
        "seeds", 3, "How many of 0, 1, … each model runs with.", 1, 10_000, **own
    )
    flags.DEFINE_integer("processes", 1, "Runs at a time.", 1, **own)
    flags.DEFINE_string("out", "runs/tasks", "Where results go.", **own)
    flags.DEFINE_string("report", None, "Document to put the table into, between marks.", **own)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
