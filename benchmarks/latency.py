"""Time of one token at a time with carried state, against PyTorch.

    pip install -e ".[bench]"
    python -m benchmarks.latency

Each takes the token before, gives logits and takes the most likely next token; parameters are
part of the compiled program, as export makes it. `LSTMCell alone` is the bare cell, without
embedding and head. The Transformer has 2 layers, 4 heads and a cache of its context.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import peers, timing
from configs import copy
from mocanet_jax.train.build import build_model, build_task
from mocanet_jax.train.state import initial_params

TOKENS = flags.DEFINE_integer("tokens", 5000, "Timed tokens of each.")
CONTEXTS = flags.DEFINE_spaceseplist("contexts", "128 1024 8192", "Of the Transformer's cache.")
WIDE = {"width": 512, "experts.count": 64, "experts.hidden_dim": 1024, "experts.top_k": 2}


def stream(model: dict):
    """One token through our model, on one sequence; the state is given away to the next.

    model: changes to fields of config.model, by dotted name.
    """
    config = copy.get_config()
    config.model.update_from_flattened_dict(model)
    task = build_task(config, Path("none"))
    net = build_model(config, task)
    params = {"params": jax.jit(lambda: initial_params(net, task))()}

    def run(token, state):
        logits, state, _ = net.apply(params, token, state)
        return jnp.argmax(logits, axis=-1), state

    state = net.apply(params, 1, method="initial_state")
    token = jnp.zeros((1, 1), jnp.int32)
    compiled = jax.jit(run, donate_argnums=1).lower(token, state).compile()

    def step():
        nonlocal token, state
        token, state = compiled(token, state)
        return token.block_until_ready()

    return step


def main(argv):
    peers.use_threads(1)  # a single token leaves a second thread nothing to do but wait
    calls = {
        "MOCA-Net, configs/copy.py": stream({}),
        "MOCA-Net, 4,096 slots": stream({"memory.num_slots": 4096}),
        "MOCA-Net, D = 512, 64 experts of 1024": stream(WIDE),
        "PyTorch LSTMCell alone": peers.lstm_stream(128, 128, bare=True),
        "PyTorch LSTMCell": peers.lstm_stream(128, 128, bare=False),
    }
    for context in map(int, CONTEXTS.value):
        calls[f"PyTorch Transformer, {context} before"] = peers.transformer_stream(
            128, 128, context
        )
    halves = [
        {name: timing.one_by_one(call, TOKENS.value // 2) for name, call in calls.items()}
        for _ in range(2)
    ]
    seconds = {name: np.concatenate([half[name] for half in halves]) for name in calls}
    p50 = {name: np.percentile(times, 50) for name, times in seconds.items()}
    rows = [
        {
            "model": name,
            "p50": timing.duration(p50[name]),
            "p99": timing.duration(np.percentile(times, 99)),
            "over the LSTMCell": float(p50[name] / p50["PyTorch LSTMCell"]),
            "over the cell alone": float(p50[name] / p50["PyTorch LSTMCell alone"]),
        }
        for name, times in seconds.items()
    ]
    timing.publish("latency", "one token, one sequence", rows)


if __name__ == "__main__":
    app.run(main)
