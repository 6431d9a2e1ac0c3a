"""Writes a trained model as files that need nothing of this package.

    python -m mocanet_jax.export --workdir=runs/copy --out=copy_model
    python -m mocanet_jax.export --workdir=runs/sst2 --out=small --format=packed

`--out` becomes a new directory with the model as StableHLO, its weights, its config, and a
README.md that says how to load it with JAX alone; or, packed, with two small files that
mocanet_jax.load and the commands take for a run. See docs/guides/export.md.
"""

import signal

from absl import flags

from mocanet_jax import cli
from mocanet_jax.runtime import backend
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.imports import make_callable
from mocanet_jax.runtime.storage.plain_paths import local_path


def main() -> None:
    if not flags.FLAGS.workdir:
        raise UserError("no run given; pass one, for example --workdir=runs/copy")
    if not flags.FLAGS.out:
        raise UserError("no place to write to; pass a new directory, for example --out=model")
    backend.start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    try:
        from mocanet_jax.inference import export

        write = {"stablehlo": export.export_run, "packed": export.pack_run}[flags.FLAGS.format]
        print(write(local_path(flags.FLAGS.workdir), local_path(flags.FLAGS.out)))
    except KeyboardInterrupt:
        cli.leave("interrupted; nothing was written", 130)


def _export(workdir, out):
    """As inference.export.export."""
    from mocanet_jax.inference.export import export

    export(workdir, out)


if __name__ != "__main__":
    make_callable(__name__, _export)  # mocanet_jax.export(workdir, out)
else:
    flags.DEFINE_string("workdir", None, "A training run, whose best checkpoint is exported.")
    flags.DEFINE_string("out", None, "The directory to make; it must be new or empty.")
    flags.DEFINE_enum("format", "stablehlo", ["stablehlo", "packed"], "What is written.")
    cli.run(main)
