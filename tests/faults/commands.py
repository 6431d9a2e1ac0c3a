"""Many commands, each in a process of its own and as fast as a function.

    python -m tests.faults.commands FOLDER < commands

runs command N of a list in JSON, of [words, streams of fuzz_tables.STREAMS], in FOLDER/N, and
prints its exit code.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from tests.faults import fuzz
from tests.processes import python


class Ended(NamedTuple):
    """code: of exit. out, err: what was printed. left: names in the folder."""

    code: int
    out: str
    err: str
    left: list[str]


def ends(commands: list[list[str]], folder: Path, streams: str = "") -> list[Ended]:
    """How the words of a command end, each in FOLDER/N, which may hold files before."""
    for number in range(len(commands)):
        (folder / str(number)).mkdir(exist_ok=True)
    given = json.dumps([[words, streams] for words in commands])
    done = python("-m", "tests.faults.commands", str(folder), cwd=folder, input=given)
    assert done.returncode == 0, done.stderr
    codes = map(json.loads, done.stdout.splitlines())
    return [_ended(folder / str(n), code) for n, code in enumerate(codes)]


def _ended(cwd, code):
    text = lambda name: (cwd / name).read_bytes().decode("utf-8", "replace")
    left = sorted(path.name for path in cwd.iterdir() if path.name not in OWN)
    return Ended(code, text(".stdout"), text(".stderr"), left)


OWN = (".stdin", *fuzz.OUTPUTS)


def main(folder: Path) -> None:
    fuzz.preload()
    for number, (words, streams) in enumerate(json.load(sys.stdin)):
        cwd = folder / str(number)
        code, _ = fuzz.ended(fuzz.Case(words, dict(os.environ), cwd, "", "", streams, False))
        print(json.dumps(code), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
