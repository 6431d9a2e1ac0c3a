"""From process start to the end of the first training step, cold and warm.

    python -m benchmarks.startup [--config=configs/copy.py] [--rounds=3]

Every round starts two processes, which run one step each: one with an empty cache of compiled
programs, and one with what that left. The process itself times its parts.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from benchmarks import timing

CONFIG = flags.DEFINE_string("config", "configs/copy.py", "What to train.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each kind.")
OVERRIDES = flags.DEFINE_multi_string("set", [], "FIELD=VALUE of the config, as for main.")

CHILD = """
import json, sys, time
import psutil
start = psutil.Process().create_time()
seconds, last = {}, start
def mark(name):
    global last
    seconds[name], last = time.time() - last, time.time()
mark("Python")
from pathlib import Path
from mocanet_jax import cli
from mocanet_jax.runtime import compilation_cache
import jax
import numpy as np
from mocanet_jax.train import loop
mark("imports")
compilation_cache.enable()
config, workdir = cli.config_of(sys.argv[2:]), Path(sys.argv[1])
trainer = loop.prepared(config, workdir).trainer
task = trainer.task
data = jax.device_put(task.batches.data)
mark("data and model")
state = jax.block_until_ready(jax.jit(trainer.initial_state)(np.uint32(config.seed)))
mark("parameters")
chosen = task.batches.select(config.train.batch_size, 0, config.train.log_every)
rest = (np.int32(1), np.uint32(config.seed), data, chosen)
step = jax.jit(trainer.steps, donate_argnums=0).lower(state, *rest).compile()
mark("compilation")
jax.block_until_ready(step(state, *rest))
mark("first step")
seconds["total"] = time.time() - start
print(json.dumps(seconds))
"""


def parts(cache: str) -> dict[str, float]:
    """Seconds of every part of one process. cache: folder of compiled programs."""
    with tempfile.TemporaryDirectory() as workdir:
        flags_ = [f"--config={CONFIG.value}", *(f"--config.{x}" for x in OVERRIDES.value)]
        command = [sys.executable, "-c", CHILD, str(Path(workdir, "run")), *flags_]
        done = subprocess.run(
            ["env", f"XDG_CACHE_HOME={cache}", *command], capture_output=True, text=True
        )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main(argv):
    found = {"cold": [], "warm": []}
    for _ in range(ROUNDS.value):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in found.values():
                seconds.append(parts(cache))
                time.sleep(1)
    rows = []
    for name, runs in found.items():
        medians = {part: timing.spread([x[part] for x in runs]) for part in runs[0]}
        total = medians.pop("total")
        rows.append(
            {"cache": name}
            | {part: f"{x.median:.2f} s" for part, x in medians.items()}
            | {"total": total}
        )
    timing.publish("startup", f"{CONFIG.value}: to the end of the first step", rows)


if __name__ == "__main__":
    app.run(main)
