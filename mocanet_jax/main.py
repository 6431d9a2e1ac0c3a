"""Trains or evaluates MOCA-Net.

    python -m mocanet_jax.main --config=configs/copy.py
    python -m mocanet_jax.main --config=configs/copy.py --mode=eval
    python -m mocanet_jax.main --config=configs/copy.py:no_memory
    python -m mocanet_jax.main --config=configs/copy.py --config.model.experts.count=8

A run that was stopped goes on when the same command is given again.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags
from rich.console import Console

from mocanet_jax import cli
from mocanet_jax.runtime import compilation_cache
from mocanet_jax.runtime.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "File with get_config, and :NAME for an ablation.", lock_config=True
)
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


def default_workdir(config_path: str) -> Path:
    """runs/copy for configs/copy.py, runs/copy_no_memory for configs/copy.py:no_memory."""
    path, _, names = config_path.partition(":")
    return Path("runs", "_".join([Path(path).stem, *filter(None, names.split(","))]))


def main() -> None:
    from mocanet_jax.inference.evaluation import evaluate
    from mocanet_jax.report.terminal import TrainingDisplay
    from mocanet_jax.runtime.processes import join, join_detected, leads
    from mocanet_jax.train.loop import train

    config = cli.config_value(CONFIG)
    compilation_cache.enable()
    if COORDINATOR.value:
        join(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    elif DISTRIBUTED.value:
        join_detected()
    elif NUM_PROCESSES.value != 1 or PROCESS_ID.value:
        raise UserError("--num_processes and --process_id need --coordinator=HOST:PORT")
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = Path(WORKDIR.value) if WORKDIR.value else default_workdir(path)
    console = Console(quiet=not leads())
    if MODE.value == "train":
        result = train(config, workdir, TrainingDisplay(console))
    else:
        chosen = config_flags.get_override_values(flags.FLAGS["config"])
        if ":" in path:
            chosen |= {"model": config.model}
        result = evaluate(config, workdir, chosen)
    if leads():
        from mocanet_jax.report.run import report

        report(result, console)


if __name__ == "__main__":
    cli.run(main)
