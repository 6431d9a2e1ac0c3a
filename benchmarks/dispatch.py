"""The forms of a mixture of experts: times, and where they cross.

    python -m benchmarks.dispatch [--experts="4 16 64"] [--tokens="1 4 16 64 1024 4096"]

`dispatched` moves tokens to experts with bounded room, as training does; `dense` computes all
experts for all tokens; `gathered` fetches the weights of the chosen ones for every token. The
model takes the first where room is bounded, and of the others `gathered` for few choices
(GATHER_BELOW in nn/experts.py). Forward alone, and with its gradient, in turn in one process.
"""

from functools import partial

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import timing
from mocanet_jax.core import dispatch

EXPERTS = flags.DEFINE_spaceseplist("experts", "4 16 64", "E.")
TOKENS = flags.DEFINE_spaceseplist("tokens", "1 4 16 64 1024 4096", "B·T.")
WIDTH = flags.DEFINE_integer("width", 256, "D, and F.")
TOP_K = flags.DEFINE_integer("top_k", 2, "K.")
ROUNDS = flags.DEFINE_integer("rounds", 7, "Timed calls of each.")
LENGTH, FACTOR = 128, 1.25
"""The longest T, and room as a multiple of the even share."""
GATHERED_AT_MOST = 2**28
"""Numbers that `gathered` may fetch; it is left out above."""


def expert(parameters, x):
    """contract · relu(expand · x + bias), of x [..., D]."""
    return jax.nn.relu(x @ parameters["expand"] + parameters["bias"]) @ parameters["contract"]


def dispatched(parameters, x, gates, live):
    num_experts, k = len(parameters["expand"]), gates.indices.shape[-1]
    room = dispatch.expert_capacity(x.shape[1], num_experts, k, FACTOR)
    plan = dispatch.plan_dispatch(gates.indices, live, num_experts, room)
    tokens = dispatch.gather_tokens(x, plan)
    results = jax.vmap(expert)(parameters, tokens.reshape(num_experts, -1, x.shape[-1]))
    results = dispatch.gather_results(results.reshape(tokens.shape), plan)
    return jnp.einsum("btkd,btk->btd", results, gates.weights)


def rows(num_experts: int, tokens: int) -> list[dict]:
    width, k, length = WIDTH.value, TOP_K.value, min(tokens, LENGTH)
    keys = jax.random.split(jax.random.key(0), 5)
    parameters = {
        "expand": jax.random.normal(keys[0], (num_experts, width, width)),
        "bias": jnp.zeros((num_experts, width)),
        "contract": jax.random.normal(keys[1], (num_experts, width, width)),
    }
    x = jax.random.normal(keys[2], (tokens // length, length, width))
    gates = dispatch.top_k_gates(jax.random.normal(keys[3], (*x.shape[:2], num_experts)), k)
    live = jnp.ones(gates.indices.shape, bool)
    forms = {"dispatched": dispatched, "dense": partial(dispatch.dense_mixture, expert)}
    if 2 * tokens * k * width**2 <= GATHERED_AT_MOST:
        forms["gathered"] = partial(dispatch.gathered_mixture, expert)

    def loss(form, parameters, x, gates, live):
        return jnp.sum(form(parameters, x, gates, live) ** 2)

    arguments = (parameters, x, gates, live)
    forward = {n: partial(jax.jit(f), *arguments) for n, f in forms.items()}
    gradient = {
        n: partial(jax.jit(jax.grad(partial(loss, f), (0, 1))), *arguments)
        for n, f in forms.items()
    }
    forward = timing.in_turn(forward, ROUNDS.value)
    gradient = timing.in_turn(gradient, ROUNDS.value)
    return [
        {
            "E": num_experts,
            "tokens": tokens,
            "form": name,
            "forward": timing.duration(forward[name].median),
            "over the fastest": forward[name].median / min(x.median for x in forward.values()),
            "with gradient": timing.duration(gradient[name].median),
            "over the fastest ": gradient[name].median
            / min(x.median for x in gradient.values()),
        }
        for name in forms
    ]


def main(argv):
    found = [
        row
        for e in map(int, EXPERTS.value)
        for n in map(int, TOKENS.value)
        for row in rows(e, n)
    ]
    title = f"experts, D = F = {WIDTH.value}, K = {TOP_K.value}"
    timing.publish("dispatch", title, found)


if __name__ == "__main__":
    app.run(main)
