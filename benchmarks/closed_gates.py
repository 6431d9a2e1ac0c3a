"""What closed gates save in evaluation: a trained copy model over the same with all gates open.

    python -m mocanet_jax.main --config=configs/copy.py --workdir=DIR
    python -m benchmarks.closed_gates --workdir=DIR [--length=1024]

Both are one compiled program, with other numbers: all gates are open where the biases of the
router are raised and λ is 0. Sequences are those of the task at its longest payload that fits,
and of random symbols, which are all written and never read. Both take turns in one process;
the second number is of the processor's time in place of the clock's, which other programs on
the machine disturb less. Pin the process to one core (`taskset -c 0`) to compare.
"""

import time
from functools import partial
from pathlib import Path

import jax
from absl import app, flags
from flax.traverse_util import flatten_dict, unflatten_dict

from benchmarks import timing
from mocanet_jax.train.restore import restored

WORKDIR = flags.DEFINE_string("workdir", None, "Of a run of configs/copy.py.", required=True)
LENGTH = flags.DEFINE_integer("length", 1024, "T.")
BATCH = flags.DEFINE_integer("batch", 16, "Sequences.")
ROUNDS = flags.DEFINE_integer("rounds", 25, "Timed calls of each.")
OPEN = 100.0
"""Added to the biases of gates, in logits."""


def opened(params: dict) -> dict:
    """Parameters whose gates are open at every token."""
    flat = flatten_dict(params)
    gates = lambda path: path[-1] == "bias" and path[-2].startswith("router_")
    return unflatten_dict({p: x + OPEN * gates(p) for p, x in flat.items()})


def tokens(task, length: int, batch: int) -> dict[str, jax.Array]:
    """int32 [B, T], by what they are."""
    payload = (length - task.num_steps(0)) // 2
    copies = task.sample(jax.random.key(1), batch, (payload, payload), payload).tokens
    symbols = jax.random.randint(jax.random.key(2), copies.shape, 1, task.marker)
    return {"copy": copies, "random symbols": symbols}


def main(argv):
    run = restored(Path(WORKDIR.value))
    net, params = run.model, run.trained.params
    inputs = tokens(run.task, LENGTH.value, BATCH.value)
    slots = net.slots_for(LENGTH.value / run.task.num_steps(run.task.longest), LENGTH.value)

    @jax.jit
    def infer(params, tokens, multiplier):
        state = net.apply({"params": params}, len(tokens), slots, method="initial_state")
        logits, state, aux = net.apply({"params": params}, tokens, state, multiplier=multiplier)
        return logits, state, aux.usage.shares()["total"]

    calls = {"all gates open": partial(infer, opened(params), inputs["copy"], 0.0)}
    for name, sequences in inputs.items():
        calls[f"trained, {name}"] = partial(infer, params, sequences, run.trained.multiplier)
    clocks = {"time": time.perf_counter, "processor": time.process_time}
    times = {name: timing.in_turn(calls, ROUNDS.value, clock) for name, clock in clocks.items()}
    rows = []
    for name, call in calls.items():
        row = {"gates": name, "usage": float(call()[2])}
        for clock, spread in times.items():
            over = spread[name].median / spread["all gates open"].median
            row |= {clock: spread[name], f"{clock}, over open": over}
        rows.append(row)
    title = f"evaluation of copy, B = {BATCH.value}, T = {inputs['copy'].shape[1]}"
    timing.publish("closed_gates", title, rows)


if __name__ == "__main__":
    app.run(main)
