"""Trains a config with its parts removed or changed, one at a time, and compares.

    python -m mocanet_jax.ablate --config=configs/copy.py --seeds=3
    python -m mocanet_jax.ablate --config=configs/sst2.py --only=control,no_memory
    python -m mocanet_jax.ablate --config=configs/copy.py --config.model.experts.count=8 \\
        --out=runs/ablation/copy_8_experts

Leaves ablation.md, ablation.json and ablation.png in OUT, and each run in OUT/NAME/seed_S.
The same command goes on where a study was stopped. Exit code 1: a run failed.
"""

from absl import flags

from mocanet_jax import cli, study_cli
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.studies.variants import CONTROL, ablations
from mocanet_jax.train.config import ABLATIONS, with_ablations

NAMES = (CONTROL, *ABLATIONS)


def main() -> None:
    from mocanet_jax.studies import study_report

    wanted = study_cli.request("ablation")
    names = list(dict.fromkeys(flags.FLAGS.only))
    for name in names:
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise UserError(f"--only: unknown ablation {name!r}; known: {known}")
    chosen, equal = ablations(
        cli.config_of, with_ablations, wanted.file, wanted.overrides, names
    )
    study_cli.conduct(wanted, chosen, equal, study_report.write_ablation)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    study_cli.define_flags(values)
    flags.DEFINE_list(
        "only", list(NAMES), "Ablations to run, with commas between.", flag_values=values
    )


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(study_cli)
    cli.run(main)
