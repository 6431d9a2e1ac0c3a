"""How time and memory grow: with the length, the slots, the experts and the batch.

    python -m benchmarks.scaling [--lengths="128 256 1024 4096 16384"]

The model is that of configs/copy.py on random tokens, with everything else fixed. Sizes take
turns in one process. Peak memory is what the compiler plans for temporary arrays, without
parameters and results.

Slots: 1,024 tokens of 4 sequences a call, one head, with the state given from call to call;
the whole model with an enlarged ring, and the recurrent form of the memory by itself, at
pointers that advance by a slot a token and at random addresses, which miss the processor's
caches. Routing scores of a content head, S a token, are not part of it. Experts: the layer
alone, forward and gradient, at D = 512 and K = 2.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import timing
from benchmarks.memories import problem
from benchmarks.training import Steps
from configs import copy
from mocanet_jax.core import memory
from mocanet_jax.nn.experts import Experts, MlpExpert
from mocanet_jax.train.build import build_model, build_task
from mocanet_jax.train.state import initial_params

LENGTHS = flags.DEFINE_spaceseplist("lengths", "128 256 1024 4096 16384", "T.")
SLOTS = flags.DEFINE_spaceseplist("slots", "64 1024 16384 65536", "S.")
EXPERTS = flags.DEFINE_spaceseplist("experts", "2 8 16 32 64", "E.")
BATCHES = flags.DEFINE_spaceseplist("batches", "1 8 32 64 128", "B.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each size.")
SEQUENCES, SEGMENT = 4, 1024
"""B where the length or the slots grow, and T of a call where the slots do."""


def over_lengths() -> list[dict]:
    config = copy.get_config()
    task = build_task(config, Path("none"))
    net = build_model(config, task)
    params = jax.jit(lambda: initial_params(net, task))()

    def infer(params, tokens):
        return net.apply({"params": params}, tokens)[0]

    def train(params, tokens):
        def loss(params):
            logits, _, aux = net.apply({"params": params}, tokens, train=True, rngs=rngs)
            return jnp.mean(logits**2) + aux.expected_share

        rngs = {"router": jax.random.key(0)}
        return jax.grad(loss)(params)

    rows = []
    for name, run in (("training", train), ("inference", infer)):
        calls, planned = {}, {}
        for length in map(int, LENGTHS.value):
            tokens = jax.random.randint(jax.random.key(1), (SEQUENCES, length), 0, 128)
            compiled = jax.jit(run).lower(params, tokens).compile()
            planned[length] = compiled.memory_analysis().temp_size_in_bytes
            calls[length] = partial(compiled, params, tokens)
        times = timing.in_turn(calls, ROUNDS.value)
        for length, time in times.items():
            tokens = SEQUENCES * length
            rows.append(
                {
                    "": name,
                    "T": length,
                    "time a token": timing.duration(time.median / tokens),
                    "over T = 256": (time.median / tokens)
                    / (times[256].median / (SEQUENCES * 256)),
                    "peak memory a token, kB": planned[length] / tokens / 1e3,
                }
            )
    return rows


class Stream:
    """Calls of `run(state, …) → (what was read, state)`, each from the state that the last one
    left, which is given away."""

    def __init__(self, run, state, *rest):
        self._state, self._rest = state, rest
        self._run = jax.jit(run, donate_argnums=0).lower(state, *rest).compile()

    def __call__(self):
        found, self._state = self._run(self._state, *self._rest)
        return found


def model_stream(slots: int) -> Stream:
    """Segments through the whole model, whose ring is enlarged to S slots."""
    config = copy.get_config()
    net = build_model(config, task := build_task(config, Path("none")))
    params = {"params": jax.jit(lambda: initial_params(net, task))()}
    tokens = jax.random.randint(jax.random.key(1), (SEQUENCES, SEGMENT), 0, 128)
    state = net.apply(params, SEQUENCES, slots, method="initial_state")
    return Stream(lambda state, tokens: net.apply(params, tokens, state)[:2], state, tokens)


def op_stream(slots: int, retention: bool, moving: bool) -> Stream:
    state, rest = problem(SEQUENCES, SEGMENT, slots, retention, moving)
    return Stream(memory.recurrent, state, *rest)


def over_slots() -> list[dict]:
    rows, sizes = [], list(map(int, SLOTS.value))
    for name, make in (
        ("the whole model", model_stream),
        ("memory, moving pointers", partial(op_stream, retention=False, moving=True)),
        ("memory, random addresses", partial(op_stream, retention=False, moving=False)),
        ("memory, random, retention", partial(op_stream, retention=True, moving=False)),
    ):
        times = timing.in_turn({s: make(s) for s in sizes}, 3 * ROUNDS.value)
        rows += [
            {
                "": name,
                "S": slots,
                "time a token": timing.duration(time.median / (SEQUENCES * SEGMENT)),
                f"over S = {sizes[0]}": time.median / times[sizes[0]].median,
            }
            for slots, time in times.items()
        ]
    return rows


def over_experts() -> list[dict]:
    width, hidden, batch, length = 512, 1024, 32, 128
    keys = jax.random.split(jax.random.key(0))
    z = jax.random.normal(keys[0], (batch, length, width))
    mask, calls = jnp.ones((batch, length), bool), {}
    for num_experts in map(int, EXPERTS.value):
        layer = Experts(MlpExpert(hidden), num_experts, 2, "topk", 2.0, 1.25, 0.0)
        logits = jax.random.normal(keys[1], (batch, length, num_experts))
        params = jax.jit(partial(layer.init, train=True))(keys[0], z, logits, mask)

        def loss(params, z, logits, layer=layer):
            return jnp.sum(layer.apply(params, z, logits, mask, train=True)[0] ** 2)

        calls[num_experts] = partial(jax.jit(jax.grad(loss, (0, 1, 2))), params, z, logits)
    times = timing.in_turn(calls, ROUNDS.value)
    return [
        {
            "E": num_experts,
            "time a token": timing.duration(time.median / (batch * length)),
            "over E = 8": time.median / times[8].median,
        }
        for num_experts, time in times.items()
    ]


def over_batches() -> list[dict]:
    calls = {}
    for batch in map(int, BATCHES.value):
        config = copy.get_config()
        config.train.batch_size = batch
        calls[batch] = Steps(config, count=5)
    times = timing.in_turn(calls, ROUNDS.value)
    length = calls[batch].task.num_steps(calls[batch].task.longest)
    per_token = {b: time.median / (5 * b * length) for b, time in times.items()}
    return [
        {
            "B": batch,
            "time a token": timing.duration(seconds),
            "tokens/s": 1 / seconds,
        }
        for batch, seconds in per_token.items()
    ]


def main(argv):
    timing.publish("scaling", f"length, {SEQUENCES} sequences", over_lengths())
    timing.publish("scaling", "slots, recurrent form", over_slots())
    timing.publish("scaling", "experts, D = 512, F = 1024, K = 2, 4,096 tokens", over_experts())
    timing.publish("scaling", "batch, a training step of copy", over_batches())


if __name__ == "__main__":
    app.run(main)
