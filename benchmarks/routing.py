"""Routing over groups against routing over all experts: seconds of CPU, and their ratio.

    taskset -c 0 python -m benchmarks.routing [--experts="16 64 256"] [--width=256]

From the input of the router to the gates and both losses of the choice, forward alone and with
the gradient by input and kernels. `flat` scores all E experts; `grouped` √E groups, then the
experts of the K best (nn/router.py). By turns in one process; CPU seconds of all threads, which
other programs on the machine touch less than the clock.
"""

import math
import time
from functools import partial

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import timing
from mocanet_jax.core import dispatch, hierarchy
from mocanet_jax.core.precision import product
from mocanet_jax.nn.router import Groups, WithinGroups

EXPERTS = flags.DEFINE_spaceseplist("experts", "16 64 256", "E, squares.")
WIDTH = flags.DEFINE_integer("width", 256, "D.")
TOP_K = flags.DEFINE_integer("top_k", 1, "K.")
ROUNDS = flags.DEFINE_integer("rounds", 15, "Timed calls of each.")
BATCH, LENGTH = 16, 128


def flat(z, kernel, k):
    logits = product(z, kernel)
    return _outcome(dispatch, logits, k, z)


def grouped(z, first, within, k):
    num_groups, _, size = within.shape
    router = WithinGroups(Groups(num_groups, min(k, num_groups)), size, gated=False)
    logits = router.apply({"params": {"kernel": within}}, z, product(z, first))
    return _outcome(hierarchy, logits, k, z)


def _outcome(scores, logits, k, z):
    """Gates and both losses, of every token."""
    mask = jnp.ones(z.shape[:2], bool)
    gates = scores.top_k_gates(logits, k)
    live = jnp.ones(gates.indices.shape, bool)
    balance = scores.load_balance_loss(logits, gates.indices, live, mask)
    return gates, balance + scores.router_z_loss(logits, mask)


def row(num_experts: int) -> dict:
    width, k, num_groups = WIDTH.value, TOP_K.value, math.isqrt(num_experts)
    keys = jax.random.split(jax.random.key(0), 4)
    draw = lambda key, *shape: jax.random.normal(key, shape) / math.sqrt(width)
    z = jax.random.normal(keys[0], (BATCH, LENGTH, width))
    arguments = {
        flat: (z, draw(keys[1], width, num_experts)),
        grouped: (
            z,
            draw(keys[2], width, num_groups),
            draw(keys[3], num_groups, width, num_experts // num_groups),
        ),
    }

    def loss(form, *arguments):
        gates, of_choice = form(*arguments, k)
        return jnp.sum(gates.weights**2) + of_choice

    calls = {}
    for form, given in arguments.items():
        slopes = jax.grad(partial(loss, form), tuple(range(len(given))))
        calls[form, "forward"] = partial(jax.jit(partial(form, k=k)), *given)
        calls[form, "with gradient"] = partial(jax.jit(slopes), *given)
    times = timing.in_turn(calls, ROUNDS.value, time.process_time)
    found = {"E": num_experts, "G": num_groups}
    for what in ("forward", "with gradient"):
        one, other = times[flat, what].median, times[grouped, what].median
        found |= {
            f"flat, {what}": timing.duration(one),
            f"grouped, {what}": timing.duration(other),
            f"ratio, {what}": other / one,
        }
    return found


def main(argv):
    title = f"routing of {BATCH * LENGTH} tokens, D = {WIDTH.value}, K = {TOP_K.value}"
    timing.publish("routing", title, [row(e) for e in map(int, EXPERTS.value)])


if __name__ == "__main__":
    app.run(main)
