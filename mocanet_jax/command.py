"""The command `mocanet`: its first word is what to do.

    mocanet train copy                        trains a config, by name or file
    mocanet train copy:no_memory --config.seed=3
    mocanet train text --config.data.path=DIR a classifier of your own texts
    mocanet eval copy                         evaluates what that left in runs/copy
    mocanet eval runs/copy                    the same, by its directory
    mocanet generate runs/tiny_shakespeare    text from a language model
    mocanet datastore runs/ptb --out=store    a corpus to look things up in: eval, generate
    mocanet chat runs/sst2                    type a text, get its label
    mocanet demo runs/sst2                    a page in the browser: words, gates, pointers
    mocanet plot runs/copy                    pictures of a run, or of several
    mocanet export runs/copy --out=model      files that need JAX alone
    mocanet quality runs/sst2                 which checkpoint to use
    mocanet inspect sst2                      the data of a text task
    mocanet ablate copy --seeds=3             each part removed or changed in turn
    mocanet frontier copy                     accuracy against compute
    mocanet suite                             models on all tasks

`mocanet WORD --help` tells more. Each is also `python -m mocanet_jax.MODULE` with flags alone.
"""

import contextlib
import difflib
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import mocanet_jax
from mocanet_jax.runtime import streams
from mocanet_jax.runtime.errors import UserError, one_line
from mocanet_jax.train.checkpoints.record import is_packed
from mocanet_jax.train.config import files as config_files


class Entry(NamedTuple):
    """module: of mocanet_jax. positional: the flag that words without dashes stand for, None
    where there is none. flags: given besides."""

    module: str
    positional: str | None
    flags: tuple[str, ...] = ()


ENTRIES = {
    "train": Entry("main", "config", ("--mode=train",)),
    "eval": Entry("main", "config", ("--mode=eval",)),
    "chat": Entry("chat", "workdir"),
    "demo": Entry("demo", "workdir"),
    "generate": Entry("generate", "workdir"),
    "datastore": Entry("datastore", "workdir"),
    "plot": Entry("plot", "workdir"),
    "export": Entry("export", "workdir"),
    "quality": Entry("quality", "workdir"),
    "inspect": Entry("inspect", "config"),
    "ablate": Entry("ablate", "config"),
    "frontier": Entry("frontier", "config"),
    "suite": Entry("suite", None),
}


def main() -> None:
    streams.open_missing()
    word, *rest = sys.argv[1:] or ["--help"]
    if word in ("--help", "-h", "help", "--version"):
        streams.keep_writing()
        print(mocanet_jax.__version__ if word == "--version" else __doc__)
        return
    try:
        entry = _entry(word)
        given = _as_flags(entry.positional, rest)
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"mocanet {word}", *entry.flags, *given]
    try:
        runpy.run_module(f"mocanet_jax.{entry.module}", run_name="__main__", alter_sys=False)
    except KeyboardInterrupt:  # while modules are imported
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _entry(word):
    """Raises UserError for a word that is no command."""
    if word in ENTRIES:
        return ENTRIES[word]
    near = difflib.get_close_matches(word, ENTRIES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"mocanet has no command {word!r}; it has {', '.join(ENTRIES)}{hint}")


def _as_flags(positional, arguments):
    """The arguments with a flag in front of words that stand for one. Raises UserError for
    a word too many."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    most = {None: 0, "config": 1}.get(positional, len(words))
    if len(words) > most:
        raise UserError(f"unexpected word {words[most]!r}; flags are written --name=value")
    return [_as_flag(positional, a) if a in words else a for a in arguments]


def _as_flag(positional, word):
    """--config=NAME or --workdir=DIRECTORY; a run may be named by its config, and an evaluation
    takes either."""
    run = Path(word, "checkpoints").is_dir() or is_packed(Path(word))
    if positional == "config" and run:
        return f"--workdir={word}"
    if positional == "workdir" and not Path(word).exists():
        with contextlib.suppress(UserError):
            return f"--workdir={config_files.default_workdir(word)}"
    return f"--{positional}={word}"


if __name__ == "__main__":
    main()
