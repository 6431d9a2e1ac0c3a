"""Trains or evaluates MOCA-Net.

    python -m mocanet_jax.main --config=configs/copy.py
    python -m mocanet_jax.main --workdir=runs/copy --mode=eval
    python -m mocanet_jax.main --config=configs/copy.py:no_memory
    python -m mocanet_jax.main --config=configs/copy.py --config.model.experts.count=8

    python -m mocanet_jax.main --config=configs/copy.py --print_config
    python -m mocanet_jax.main --workdir=runs/ptb --mode=eval --datastore=store

`mocanet train copy` and `mocanet eval copy` do the same from any directory. A run that was
stopped goes on when the same command is given again.
"""

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console

from mocanet_jax import cli
from mocanet_jax.runtime import backend, compilation_cache
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.train.config import base_config
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config import meanings as fields

CONFIG = cli.define_config("Config file or name, and :NAME,NAME for ablations.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "What to do.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run is kept; runs/<config name> by default."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT where process 0 of several listens for the others."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 1, "How many there are, with it.")
PROCESS_ID = flags.DEFINE_integer("process_id", 0, "Which of them this is, from 0 on.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes, as Slurm, Open MPI or a TPU pod tells."
)
DATASTORE = flags.DEFINE_string(
    "datastore", None, "Of the evaluated language model: figures with and without it."
)
WEIGHT = flags.DEFINE_float(
    "datastore_weight", None, "Of its neighbours, in [0, 1); fitted on validation by default."
)
PRINT_CONFIG = flags.DEFINE_bool(
    "print_config", False, "Prints every field of the config with its meaning, and no more."
)


def main() -> None:
    if DATASTORE.value and MODE.value != "eval":
        raise UserError("--datastore is for evaluation: mocanet eval, or --mode=eval")
    if WEIGHT.value is not None and not DATASTORE.value:
        raise UserError("--datastore_weight needs --datastore=DIR")
    config, workdir, overrides = wanted()
    if PRINT_CONFIG.value:
        cli.show("\n".join(fields.described(config)))
    else:
        run(config, workdir, overrides if MODE.value == "eval" else None)


def wanted() -> tuple[ConfigDict, Path, dict]:
    """The config, that of --workdir where an evaluation names no other; where the run is kept;
    and the fields that flags set. Raises UserError where there is no config."""
    if CONFIG.value is None and MODE.value == "eval" and WORKDIR.value:
        workdir = local_path(WORKDIR.value)
        config, overrides = cli.overridden(config_of_run(workdir))
        return config, workdir, overrides
    if CONFIG.value is None and MODE.value == "eval":
        raise UserError("no run given; pass one, for example --workdir=runs/copy")
    config = cli.config_value(CONFIG)
    flag = flags.FLAGS["config"]
    name = config_flags.get_config_filename(flag)
    workdir = WORKDIR.value or config_files.default_workdir(name, config.model.name)
    return config, local_path(workdir), config_flags.get_override_values(flag)


def config_of_run(workdir: Path) -> ConfigDict:
    """What a run was trained with. Raises UserError where there is none."""
    from mocanet_jax.train.checkpoints.workdir import read_config

    saved = read_config(workdir)
    if saved is None:
        raise UserError(f"no trained model in {workdir}: train first, or pass its --workdir")
    return ConfigDict(saved | {"mesh": base_config().mesh})


def run(config: ConfigDict, workdir: Path, overrides: dict | None) -> None:
    """Trains, or evaluates where there are `overrides`, and reports."""
    backend.prepare()
    compilation_cache.enable()
    from mocanet_jax.inference.evaluation import evaluate
    from mocanet_jax.report.terminal import TrainingDisplay
    from mocanet_jax.runtime.processes import is_main_process, join, join_detected
    from mocanet_jax.train.loop import train

    if COORDINATOR.value:
        join(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    elif DISTRIBUTED.value:
        join_detected()
    elif NUM_PROCESSES.value != 1 or PROCESS_ID.value:
        raise UserError("--num_processes and --process_id need --coordinator=HOST:PORT")
    backend.start()
    store = local_path(DATASTORE.value) if DATASTORE.value else None
    if store:
        from mocanet_jax.inference.datastore import usable

        usable(store, WEIGHT.value)
    console = Console(quiet=not is_main_process())
    if overrides is None:
        result = train(config, workdir, TrainingDisplay(console))
    else:
        result = evaluate(workdir, config, overrides)
    if is_main_process():
        from mocanet_jax.report.run import report

        report(result, console)
        if store:
            from mocanet_jax.inference.evaluation import evaluate_with_datastore
            from mocanet_jax.report.language import show_datastore

            show_datastore(console, evaluate_with_datastore(result, store, WEIGHT.value))


if __name__ == "__main__":
    cli.run(main)
