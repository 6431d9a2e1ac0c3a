"""Trains a config under several budgets, and compares what it reaches with what it cost.

    python -m mocanet_jax.frontier --config=configs/copy.py --targets="0.2 0.5" --topk="1 2"

Dynamic routing runs under each target budget; the baselines are fixed choices of no expert and
of each K and, with --controls=random,smaller, experts drawn by chance at each target and a
single expert of that size. Leaves frontier.md, frontier.json and frontier.png in OUT, and each
run in OUT/NAME/seed_S. The same command goes on where a study was stopped. Exit code 1: a run
failed.
"""

from absl import flags

from mocanet_jax import cli, study_cli
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.studies.variants import budgets


def main() -> None:
    from mocanet_jax.studies import study_report

    wanted = study_cli.request("frontier")
    targets, top_k = _numbers("targets", float), _numbers("topk", int)
    controls = flags.FLAGS.controls
    if not all(0 <= target <= 1 for target in targets):
        raise UserError(f"--targets takes shares in [0, 1], not {targets}")
    if min(top_k) < 1:
        raise UserError(f"--topk takes numbers from 1 on, not {top_k}")
    chosen = budgets(cli.config_of, wanted.file, wanted.overrides, targets, top_k, controls)
    study_cli.conduct(wanted, chosen, [], study_report.write_budgets)


def _numbers(name, kind):
    numbers = study_cli.numbers(name, kind)
    if not numbers:
        raise UserError(f"--{name} is empty")
    return numbers


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    study_cli.define_flags(values)
    for name, default, help_text in (
        ("targets", "0.1 0.2 0.35 0.5 1.0", "Shares of the full compute."),
        ("topk", "1 2 4", "Experts that every token uses."),
    ):
        flags.DEFINE_spaceseplist(name, default, help_text, flag_values=values)
    flags.DEFINE_list(
        "controls",
        [],
        "Of random, experts drawn by chance, and smaller, a single expert, at each target.",
        flag_values=values,
    )


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(study_cli)
    cli.run(main)
