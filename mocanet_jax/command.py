"""The command `mocanet`: its first word is what to do.

    mocanet train copy                        trains a config, by name or file
    mocanet train copy:no_memory --config.seed=3
    mocanet eval copy                         evaluates what that left in runs/copy
    mocanet eval --workdir=runs/copy
    mocanet chat runs/sst2                    type a sentence, get its sentiment
    mocanet plot runs/copy                    pictures of a run, or of several
    mocanet export runs/copy --out=model      files that need JAX alone
    mocanet quality runs/sst2                 which checkpoint to use
    mocanet inspect sst2                      the data of a text task
    mocanet ablate copy --seeds=3             each part removed or changed in turn
    mocanet frontier copy                     accuracy against compute
    mocanet suite                             models on all tasks

`mocanet WORD --help` tells more. Each is also `python -m mocanet_jax.MODULE` with flags alone.
"""

import runpy
import sys
from typing import NamedTuple


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
    "plot": Entry("plot", "workdir"),
    "export": Entry("export", "workdir"),
    "quality": Entry("quality", "workdir"),
    "inspect": Entry("inspect", "config"),
    "ablate": Entry("ablate", "config"),
    "frontier": Entry("frontier", "config"),
    "suite": Entry("suite", None),
}


def main() -> None:
    word, *rest = sys.argv[1:] or ["--help"]
    if word in ("--help", "-h", "help"):
        print(__doc__)
        return
    if word == "--version":
        import mocanet_jax

        print(mocanet_jax.__version__)
        return
    if word not in ENTRIES:
        known = ", ".join(ENTRIES)
        print(f"error: mocanet has no command {word!r}; it has {known}", file=sys.stderr)
        sys.exit(2)
    entry = ENTRIES[word]
    flags = [
        argument
        if argument.startswith("-") or not entry.positional
        # a word stands for the entry's flag
        else f"--{entry.positional}={argument}"
        for argument in rest
    ]
    sys.argv = [f"mocanet {word}", *entry.flags, *flags]
    runpy.run_module(f"mocanet_jax.{entry.module}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
