"""Cases of a command under any environment, paths, files and flags together, by number.

    python -m tests.faults.fuzz FOLDER FIRST COUNT

runs COUNT cases from number FIRST on and prints a line of JSON for each that is not as it
should be: works, or says in one line why not, exit code 2; no traceback, no hang, nothing lost.

FOLDER: of `prepare`. A case is a process of its own, forked from one that has imported
everything and started nothing, which takes milliseconds; every FRESH-th is a new interpreter.
"""

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from tests.faults import fuzz_tables as tables
from tests.processes import ROOT

FRESH = 100
LIMIT = float(os.environ.get("FUZZ_SECONDS", 300))
"""Seconds that a case may take; what trains is ended by SIGTERM after half of them."""

SLOW = re.compile(r"E\d{4} .*slow_operation_alarm.*\n(\n?\*+\n.*\n\*+\n)?")
"""What XLA logs of a program that takes two minutes to compile: that says of the machine, and
of what else runs on it, more than of the command."""

SHIPPED = " that comes with mocanet_jax"
"""Ends the line that says which model answers."""

STUDIES = ("ablate", "frontier", "suite")
TRAIN = ("train", *STUDIES)
"""Words that train; studies only in a new interpreter, else their runs are stood in for."""

CONFIG = b"""from tests.train import tiny


def get_config(ablation=None):
    return tiny.config(ablation).unlock()
"""


class Case(NamedTuple):
    """words: of the command. env: in place of the environment. run: the name of a run in the
    folder `cwd`, of kind `kind`. streams: of tables.STREAMS. fresh: in a new interpreter."""

    words: list[str]
    env: dict[str, str]
    cwd: Path
    run: str
    kind: str
    streams: str
    fresh: bool


def prepare(folder: Path, runs: dict[str, Path], corpus: Path) -> None:
    """Material of cases: a finished run of each of tables.RUNS, and a corpus of texts."""
    for name, source in runs.items():
        shutil.copytree(source, folder / "runs" / name)
    shutil.copytree(corpus, folder / "corpus")


def preload() -> None:
    """Imports what cases need; starts nothing, so that this process can be forked."""
    import mocanet_jax.inference.export
    import mocanet_jax.inference.generation
    import mocanet_jax.inference.quality
    import mocanet_jax.report.plot
    import mocanet_jax.studies.study_report
    import mocanet_jax.studies.task_suite_report
    import mocanet_jax.train.loop  # noqa: F401


def drawn(number: int, folder: Path) -> Case:
    """The case of this number, with its files in place."""
    rng = random.Random(number)
    cwd = folder / f"case_{number}"
    cwd.mkdir()
    kind = rng.choice(tables.RUNS)
    name = rng.choice(tables.NAMES) if rng.random() < 0.4 else "run"
    shutil.copytree(folder / "runs" / kind, cwd / name)
    if rng.random() < 0.4:
        _damage(rng, cwd / name)
    _surround(rng, cwd, folder / "corpus")
    word = rng.choices([*tables.WORDS], [*tables.WORDS.values()])[0]
    words = [word, *_flags(rng, word, cwd, name)]
    fresh = number % FRESH == FRESH - 1
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    variables = tables.AT_START | tables.ENVIRONMENT if fresh else tables.ENVIRONMENT
    for variable in rng.sample([*variables], rng.choice([0, 0, 1, 2, 3])):
        env[variable] = rng.choice(variables[variable])
    streams = rng.choices([*tables.STREAMS], [*tables.STREAMS.values()])[0]
    return Case(words, env, cwd, name, kind, "" if fresh else streams, fresh)


def _damage(rng, run):
    """To a small file, or to a checkpoint."""
    change = rng.random()
    if rng.random() < 0.7:
        path = run / rng.choice(tables.SMALL)
        path.unlink(missing_ok=True)
        if change < 0.7:
            path.write_bytes(rng.choice(tables.CONTENTS))
        elif change < 0.8:
            path.mkdir()
        elif change < 0.9:
            path.symlink_to(path.name)
        return
    path = rng.choice(sorted(p for p in (run / "checkpoints").rglob("*") if p.is_file()))
    content = bytearray(path.read_bytes() or b"x")
    if change < 0.3:
        path.unlink()
    elif change < 0.6:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    elif change < 0.9:
        path.write_bytes(content[: rng.randrange(100)])
    else:
        shutil.rmtree(run / "checkpoints")


def _surround(rng, cwd, corpus):
    """Files beside the run, which tables.WRONG and _path name."""
    (cwd / "junk").write_bytes(rng.choice(tables.CONTENTS))
    shutil.copytree(corpus, cwd / "folder")
    if rng.random() < 0.5:
        table = cwd / "folder" / rng.choice(["train.tsv", "dev.tsv"])
        table.write_bytes(rng.choice(tables.CONTENTS))
    own = CONFIG if rng.random() < 0.8 else rng.choice(tables.CONTENTS)
    (cwd / "own.py").write_bytes(own)
    (cwd / "loop").symlink_to("loop")
    os.mkfifo(cwd / "pipe")


def _flags(rng, word, cwd, run):
    """Mostly sensible, and in most cases one or two that are not."""
    flags, wild = [], rng.random() < 0.85
    known = tables.FLAGS.get(word, {})
    value = lambda: _path(rng, cwd, run) if rng.random() < 0.25 else rng.choice(tables.JUNK)
    if word in tables.TAKE_CONFIG or rng.random() < 0.1:
        flags.append(f"--config={_config(rng)}")
    if word in tables.TAKE_WORKDIR and rng.random() < 0.9:
        workdir = _path(rng, cwd, run) if wild and rng.random() < 0.3 else run
        flags.append(f"--workdir={workdir}")
    for name, values in known.items():
        if rng.random() < 0.3:
            flags.append(f"--{name}={rng.choice(values)}")
    for _ in range(rng.randint(1, 2) if wild else 0):
        kind = rng.random()
        if kind < 0.45 and (word == "eval" or word in tables.TAKE_CONFIG):
            flags.append(f"--config.{rng.choice(tables.FIELDS)}={value()}")
        elif kind < 0.8 and known:
            flags.append(f"--{rng.choice([*known, 'workdir'])}={value()}")
        elif kind < 0.9:
            flags.append(rng.choice(tables.OTHER_WORDS))
        else:
            flags.append(f"--{rng.choice(tables.PATHS)}={_path(rng, cwd, run)}")
    if word == "train":
        flags.append("--config.train.max_steps=7")
    return flags


def _config(rng):
    return "own.py" if rng.random() < 0.6 else rng.choice([*tables.CONFIGS, *tables.JUNK])


def _path(rng, cwd, run):
    there = [run, f"./{run}/", str(cwd / run), f"file://{cwd / run}", "folder"]
    return rng.choice(rng.choice([there, tables.WRONG, tables.REMOTE]))


def ended(case: Case) -> tuple[int | None, float]:
    """Exit code, None of a case that hung, and seconds."""
    started, pause, asked = time.monotonic(), 0.001, False
    pid = _started_anew(case) if case.fresh else os.fork()
    if not pid:
        _in_child(case)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        seconds = time.monotonic() - started
        if done:
            return os.waitstatus_to_exitcode(status), seconds
        if case.words[0] in TRAIN and seconds > LIMIT / 2 and not asked:
            os.kill(pid, signal.SIGTERM)
            asked = True
        if seconds > LIMIT:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None, seconds
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _started_anew(case):
    command = [sys.executable, "-m", "mocanet_jax.command", *case.words]
    with open(case.cwd / ".stdout", "wb") as out, open(case.cwd / ".stderr", "wb") as err:
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
        place = {"cwd": case.cwd, "env": case.env, "start_new_session": True}
        return subprocess.Popen(command, **streams, **place).pid


def _in_child(case):
    """Never returns."""
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(case.env)
        os.chdir(case.cwd)
        _redirect(case)
        from mocanet_jax import command, study_cli

        study_cli.start_run = _no_run
        sys.argv = ["mocanet", *case.words]
        command.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        code, trace = 1, traceback.format_exc().encode("utf-8", "backslashreplace")
        os.write(os.open(case.cwd / ".stderr", os.O_WRONLY | os.O_APPEND), trace)
    try:
        sys.stdout.flush()
    except OSError:
        code = code or 120  # as Python ends
    os._exit(code)


def _redirect(case):
    """The standard streams, as a shell and PYTHONIOENCODING make them."""
    (case.cwd / ".stdin").write_bytes(b"a dull film\nexplain\nbatch junk\nhelp\n\xff\n")
    files = [os.open(case.cwd / ".stdin", os.O_RDONLY)]
    files += [os.open(case.cwd / name, os.O_WRONLY | os.O_CREAT) for name in OUTPUTS]
    if case.streams == "full output":
        files[1] = os.open("/dev/full", os.O_WRONLY)
    elif case.streams == "pipe nobody reads":
        read, files[1] = os.pipe()
        os.close(read)
    encoding, _, errors = case.env.get("PYTHONIOENCODING", "utf-8").partition(":")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(files[number], number)
        raw = io.FileIO(number, "w" if number else "r", closefd=False)
        buffer = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
        how = {"encoding": encoding, "errors": errors or "strict"}
        if number == 2:
            how |= {"errors": "backslashreplace", "line_buffering": True}
        stream = io.TextIOWrapper(buffer, **how)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.closerange(3, 64)
    for number in tables.CLOSED.get(case.streams, ()):
        os.close(number)


OUTPUTS = (".stdout", ".stderr")


def _no_run(cell):
    """In place of a run of a study: one that ends at once, without a result."""
    cell.log.parent.mkdir(parents=True, exist_ok=True)
    cell.log.write_text("stood in for\n")
    return subprocess.Popen(["/bin/true"])


def problems(case: Case, before: dict[str, str], code: int | None) -> list[str]:
    """What is wrong with how a case ended. before: `fingerprints` of its checkpoints."""
    if code is None:
        return ["hangs"]
    found, word = [], case.words[0]
    out, err = (_text(case.cwd / name) for name in OUTPUTS)
    err = SLOW.sub("", err)
    stopped = word in TRAIN and code in (143, -signal.SIGTERM)
    unfinished = word in (*STUDIES, "quality") and code == 1
    if code not in (0, 2) and not stopped and not unfinished:
        found.append(f"exit code {code}")
    if "Traceback" in out + err:
        found.append("traceback")
    lines = [line for line in err.splitlines() if not line.startswith(("warning: ", "note: "))]
    lines = [line for line in lines if not line.endswith(SHIPPED)]
    if code == 2 and 2 not in tables.CLOSED.get(case.streams, ()):
        if len(lines) != 1 or not lines[0].startswith("error: "):
            found.append(f"{len(lines)} lines with exit code 2")
    elif code == 0 and lines:
        found.append("lines on stderr with exit code 0")
    after = fingerprints(case.cwd / case.run / "checkpoints")
    if word != "train" and after != before:
        found.append("checkpoints changed")
    if before and not after and not (case.cwd / case.run / "damaged").exists():
        found.append("checkpoints are lost")
    if any(path.is_file() for path in case.cwd.rglob("*.partial*")):
        found.append("half-written files")
    if code == 0 and word == "eval" and not any("--config" in word for word in case.words):
        found += _wrong_answer(case)
    return found


def fingerprints(folder: Path) -> dict[str, str]:
    """Checksums of all files below a folder, by their paths."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _wrong_answer(case):
    """An evaluation of the same step gives the numbers of the run."""
    try:
        evaluated = json.loads((case.cwd / case.run / "eval.json").read_text())
        known = json.loads((case.cwd.parent / "runs" / case.kind / "result.json").read_text())
    except (OSError, ValueError):
        return []
    same = evaluated.get("evaluated_step") == known["evaluated_step"]
    numbers = lambda found: {name: x for name, x in found.items() if name.startswith("eval/")}
    return ["wrong answer"] if same and numbers(evaluated) != numbers(known) else []


def _text(path):
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def main(folder: Path, first: int, count: int) -> None:
    preload()
    for number in range(first, first + count):
        case = drawn(number, folder)
        before = fingerprints(case.cwd / case.run / "checkpoints")
        code, seconds = ended(case)
        wrong = problems(case, before, code)
        if wrong:
            changed = {k: v for k, v in case.env.items() if os.environ.get(k) != v}
            shown = {"number": number, "problems": wrong, "code": code, "words": case.words}
            shown |= {"env": changed, "streams": case.streams, "kind": case.kind}
            shown |= {"run": case.run, "stderr": _text(case.cwd / ".stderr")[-1500:]}
            print(json.dumps(shown), flush=True)
        if "FUZZ_TIMES" in os.environ:
            print(f"{number} {code} {seconds:.2f} {case.words}", file=sys.stderr, flush=True)
        if "FUZZ_KEEP" not in os.environ:
            shutil.rmtree(case.cwd, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]), int(sys.argv[3]))
