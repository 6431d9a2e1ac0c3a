"""The forms of the memory and of the controller's recurrence: times, and where they cross.

    python -m benchmarks.memory_op [--lengths="128 1024"] [--slots="16 64 256 1024"]

Forward alone, and with its gradient, in turn in one process. Tokens per call are the same for
all lengths. The model takes the recurrent form and the scan on CPU, chunked and parallel forms
on accelerators (`model.time`); run this on yours to see whether that is right.
"""

from functools import partial

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import timing
from benchmarks.memories import ACTIVE, WIDTH, problem
from mocanet_jax.core import memory, recurrence

LENGTHS = flags.DEFINE_spaceseplist("lengths", "128 1024", "T.")
SLOTS = flags.DEFINE_spaceseplist("slots", "16 64 256 1024", "S.")
CHUNKS = flags.DEFINE_spaceseplist("chunks", "16 64", "C of the chunked form.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each.")
TOKENS = 4096
"""B·T of every call."""


def of_memory(length: int, slots: int) -> list[dict]:
    state, (write, read, value, strength, _) = problem(TOKENS // length, length, slots, False)
    forms = {"recurrent": memory.recurrent}
    for chunk in map(int, CHUNKS.value):
        forms[f"chunked, C = {chunk}"] = partial(memory.chunked, chunk_size=chunk)

    def loss(differentiable, form):
        slots, of_write, of_read, value, strength = differentiable
        writes, reads = write._replace(weights=of_write), read._replace(weights=of_read)
        found, _ = form(state._replace(slots=slots), writes, reads, value, strength)
        return jnp.sum(found**2)

    arguments = (state, write, read, value, strength)
    differentiable = (state.slots, write.weights, read.weights, value, strength)
    forward = {n: partial(jax.jit(form), *arguments) for n, form in forms.items()}
    gradient = {
        n: partial(jax.jit(partial(jax.grad(loss), form=form)), differentiable)
        for n, form in forms.items()
    }
    return _rows({"T": length, "S": slots}, forward, gradient)


def of_recurrence(length: int) -> list[dict]:
    shape = (TOKENS // length, length, WIDTH)
    keys = jax.random.split(jax.random.key(0))
    arguments = (
        jax.nn.sigmoid(jax.random.normal(keys[0], shape)),
        jax.random.normal(keys[1], shape),
        jnp.zeros((shape[0], WIDTH)),
    )
    run = {f: partial(recurrence.linear_recurrence, form=f) for f in ("scan", "associative")}
    loss = lambda arguments, run: jnp.sum(run(*arguments) ** 2)
    forward = {n: partial(jax.jit(f), *arguments) for n, f in run.items()}
    gradient = {
        n: partial(jax.jit(partial(jax.grad(loss), run=f)), arguments) for n, f in run.items()
    }
    return _rows({"T": length}, forward, gradient)


def _rows(sizes, forward, gradient):
    forward = timing.in_turn(forward, ROUNDS.value)
    gradient = timing.in_turn(gradient, ROUNDS.value)
    fastest = min(gradient, key=lambda name: gradient[name].median)
    return [
        sizes
        | {
            "form": name,
            "forward": timing.duration(forward[name].median),
            "with gradient": timing.duration(gradient[name].median),
            "over the fastest": gradient[name].median / gradient[fastest].median,
        }
        for name in forward
    ]


def main(argv):
    lengths = list(map(int, LENGTHS.value))
    rows = [row for t in lengths for s in map(int, SLOTS.value) for row in of_memory(t, s)]
    timing.publish("memory_op", f"memory, {TOKENS} tokens, P = {WIDTH}, A = {ACTIVE}", rows)
    rows = [row for length in lengths for row in of_recurrence(length)]
    timing.publish("memory_op", f"controller's recurrence, {TOKENS} tokens, D = {WIDTH}", rows)


if __name__ == "__main__":
    app.run(main)
