"""From process start to the end of the first training steps, cold and warm.

    python -m benchmarks.startup [--config=configs/copy.py] [--rounds=3]

Every round starts the training command twice, once with an empty cache of compiled programs,
and once with what that left, and ends it when its first steps are reported.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from absl import app, flags

from benchmarks import timing

CONFIG = flags.DEFINE_string("config", "configs/copy.py", "What to train.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each kind.")
OVERRIDES = flags.DEFINE_multi_string("set", [], "FIELD=VALUE of the config, as for main.")

COMPILED = re.compile(r"compiled after ([\d.]+) s")
FIRST = re.compile(r"step \d+/\d+ ")


def parts(cache: str) -> dict[str, float]:
    """Seconds from the start of one process until its program is compiled, and until its first
    steps are done. cache: folder of compiled programs."""
    changes = ["train.log_every=1", *OVERRIDES.value]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mocanet_jax.main", f"--config={CONFIG.value}"]
        command += [f"--config.{change}" for change in changes]
        command += [f"--workdir={Path(folder, 'run')}"]
        process = subprocess.Popen(
            ["env", f"XDG_CACHE_HOME={cache}", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        start, seconds, lines = psutil.Process(process.pid).create_time(), {}, []
        for line in process.stdout:
            lines.append(line)
            if found := COMPILED.search(line):
                seconds["compiled"] = float(found[1])
            if FIRST.search(line):
                seconds["first step"] = time.time() - start
                break
        process.kill()
        process.wait()
    if len(seconds) < 2:
        sys.exit("".join(lines))
    return seconds


def main(argv):
    found = {"cold": [], "warm": []}
    for _ in range(ROUNDS.value):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in found.values():
                seconds.append(parts(cache))
                time.sleep(1)
    rows = [
        {"cache": name} | {part: timing.spread([x[part] for x in runs]) for part in runs[0]}
        for name, runs in found.items()
    ]
    timing.publish("startup", f"{CONFIG.value}: to the end of the first step", rows)


if __name__ == "__main__":
    app.run(main)
