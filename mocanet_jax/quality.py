"""Compares the checkpoints of text classifiers and says which to use.

    python -m mocanet_jax.quality --workdir=runs/sst2
    python -m mocanet_jax.quality --workdir=runs/sst2 --workdir=runs/sst2_seed_1

The one to use is that of the lowest loss on texts held out of training, among those within
their budget as far as there are such; runs with other held-out texts, as those of another seed,
are not compared by it. The validation split and the quality sentences
are only reported. Exit code 1: its validation accuracy is below the config's
`quality.target_accuracy`.
"""

import sys
from pathlib import Path

from absl import flags
from rich.console import Console

from mocanet_jax import cli
from mocanet_jax.runtime import backend
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path

SENTENCES = Path(__file__).parent / "tasks" / "text" / "quality_sentences.tsv"


def main() -> None:
    backend.start()
    from mocanet_jax.inference.quality import best, candidates, comparable
    from mocanet_jax.report import quality
    from mocanet_jax.tasks.text.labelled import read_tsv

    workdirs = [local_path(path) for path in flags.FLAGS.workdir or ()]
    if not workdirs:
        raise UserError("no run given; pass one, for example --workdir=runs/sst2")
    sentences = read_tsv(local_path(flags.FLAGS.sentences), num_classes=2)
    console = Console()
    found = [candidate for workdir in workdirs for candidate in candidates(workdir, sentences)]
    chosen = [best(group) for group in comparable(found)]
    quality.show(console, found, chosen)
    below = [one for one in chosen if one.accuracy < one.target]
    for one in below:
        console.print(
            f"below the target: validation accuracy {one.accuracy:.2%}, "
            f"wanted {one.target:.2%}",
            highlight=False,
        )
    if below:
        sys.exit(1)


if __name__ == "__main__":
    flags.DEFINE_multi_string("workdir", None, "A training run; may be repeated.")
    flags.DEFINE_string("sentences", str(SENTENCES), "TSV of raw English to score.")
    cli.run(main)
