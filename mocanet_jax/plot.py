"""Draws what a run, or several, left behind, as PNG files.

    python -m mocanet_jax.plot --workdir=runs/copy
    python -m mocanet_jax.plot --workdir=runs/sst2 --text="not a dull moment"
    python -m mocanet_jax.plot --workdir=runs/copy --workdir=runs/copy_seed_1 --out=pictures

Of one run: curves, load of experts, memory, and where it spends its compute. Of several: their
curves laid over each other. The run may still be training.
"""

from absl import flags
from rich.console import Console

from mocanet_jax import cli
from mocanet_jax.runtime import backend
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path


def main() -> None:
    workdirs = [local_path(path) for path in dict.fromkeys(flags.FLAGS.workdir or [])]
    texts = flags.FLAGS.text or []
    if not workdirs:
        raise UserError("no run given; pass one, for example --workdir=runs/copy")
    backend.start()
    from mocanet_jax.report import plot

    out = local_path(flags.FLAGS.out) if flags.FLAGS.out else workdirs[0]
    console = Console()
    if len(workdirs) == 1:
        plot.draw_run(workdirs[0], out, texts, console)
    elif texts:
        raise UserError("--text is for one text classifier, not for a comparison of runs")
    else:
        plot.compare_runs(workdirs, out, console)


if __name__ == "__main__":
    flags.DEFINE_multi_string("workdir", None, "A training run; may be repeated.")
    flags.DEFINE_string("out", None, "Where pictures go; the first workdir by default.")
    flags.DEFINE_multi_string("text", None, "A text to draw the spending on; may be repeated.")
    cli.run(main)
