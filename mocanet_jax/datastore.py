"""Makes a datastore: every token of a corpus, under what a language model saw before it.

    python -m mocanet_jax.datastore --workdir=runs/ptb --out=store
    python -m mocanet_jax.datastore --workdir=runs/ptb --corpus=FILE_OR_DIR --out=store

The corpus is as config.data.path, and read with the tokenizer of the run: its training split is
kept (of a file all but the share that is for validation), and the weight of the neighbours is
fitted on its validation split. What is stopped goes on when the same command is given again.
`mocanet eval` and `mocanet generate` take the datastore with --datastore=DIR. See
docs/guides/retrieval.md.
"""

import signal
from functools import partial

from absl import flags

from mocanet_jax import cli
from mocanet_jax.runtime import backend, compilation_cache
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path

WORKDIR = flags.DEFINE_string("workdir", None, "A training run of a language model.")
CORPUS = flags.DEFINE_string("corpus", "", "File, folder or name; that of the run by default.")
OUT = flags.DEFINE_string("out", None, "The directory to make; it must be new or empty.")


def main() -> None:
    if not WORKDIR.value:
        raise UserError("no run given; pass one, for example --workdir=runs/ptb")
    if not OUT.value:
        raise UserError("no place to write to; pass a new directory, for example --out=store")
    backend.prepare()
    compilation_cache.enable()
    backend.start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    try:
        from mocanet_jax.inference.datastore_building import build

        out = local_path(OUT.value)
        build(local_path(WORKDIR.value), CORPUS.value, out, partial(print, flush=True))
        print(out)
    except KeyboardInterrupt:
        cli.leave("interrupted; the same command goes on from what is done", 130)


if __name__ == "__main__":
    cli.run(main)
