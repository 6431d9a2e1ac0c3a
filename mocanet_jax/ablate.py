"""Trains a config with its parts removed or changed, one at a time, and compares.

    python -m mocanet_jax.ablate --config=configs/copy.py --seeds=3
    python -m mocanet_jax.ablate --config=configs/sst2.py --only=baseline,no_memory
    python -m mocanet_jax.ablate --config=configs/copy.py --config.model.num_experts=8 \\
        --out=runs/ablation/copy_8_experts

Leaves ablation.md, ablation.json and ablation.png in OUT, and each run in OUT/NAME/seed_S.
The same command goes on where a study was stopped. Exit code 1: a run failed.
"""

import importlib

from absl import flags

from mocanet_jax import cli, studies
from mocanet_jax.errors import UserError
from mocanet_jax.training.variants import ABLATIONS, ablations


def main() -> None:
    from mocanet_jax.training import study_report

    asked = studies.request("ablation")
    names = list(dict.fromkeys(flags.FLAGS.only))
    for name in names:
        if name not in ABLATIONS:
            known = ", ".join(ABLATIONS)
            raise UserError(f"--only: unknown ablation {name!r}; known: {known}")
    ablate = _with_ablation()
    chosen, equal = ablations(cli.config_of, ablate, asked.file, asked.overrides, names)
    studies.conduct(asked, chosen, equal, study_report.write_ablation)


def _with_ablation():
    # Beside the config file, whose folder cli.py made a place to import from.
    try:
        return importlib.import_module("configs.base").with_ablation
    except ImportError as error:
        raise UserError(f"ablations are those of configs/base.py, and {error}") from error


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    studies.define_flags(values)
    flags.DEFINE_list(
        "only", list(ABLATIONS), "Ablations to run, with commas between.", flag_values=values
    )


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(studies)
    cli.run(main)
