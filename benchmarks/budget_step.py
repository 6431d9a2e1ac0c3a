"""Time of a training step within a budget over that of dense routing.

    python -m benchmarks.budget_step [--target=0.25] [--rounds=7]

Both are the copy task with D = 512, E = 16, F = 1024, compiled in one process and timed in
alternation; the medians and their ratio are printed. The budget sizes the experts' room, so
that a step costs what the target allows, however many gates are open.
"""

import statistics
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from configs.copy import get_config
from mocanet_jax.training.build import build_model, build_task
from mocanet_jax.training.optimizer import build_optimizer
from mocanet_jax.training.step import initial_train_state, train_steps

TARGET = flags.DEFINE_float("target", 0.25, "Share of the full compute.")
ROUNDS = flags.DEFINE_integer("rounds", 7, "Timed steps of each kind.")
SIZES = {"embedding_dim": 512, "num_experts": 16, "expert_hidden_dim": 1024}
BATCH = 32


def compiled_step(**model):
    """A compiled training step and the state it starts from."""
    config = get_config()
    config.model.update(SIZES | model)
    config.training.batch_size = BATCH
    task = build_task(config, Path("none"))
    net, optimizer = build_model(config, task), build_optimizer(config.training)
    state = jax.jit(partial(initial_train_state, net, task, optimizer, config))()
    run = partial(train_steps, model=net, task=task, optimizer=optimizer, config=config)
    compiled = jax.jit(run).lower(state, np.int32(1), np.uint32(0), (), ()).compile()
    return partial(compiled, state, np.int32(1), np.uint32(0), (), ())


def seconds(step) -> float:
    start = time.perf_counter()
    jax.block_until_ready(step())
    return time.perf_counter() - start


def main(argv):
    kinds = {
        "dense routing": {"routing": "topk", "top_k_experts": 16, "target_budget": 1.0},
        f"budget {TARGET.value:g}": {
            "top_k_experts": 4,
            "target_budget": TARGET.value,
        },
    }
    steps = {name: compiled_step(**model) for name, model in kinds.items()}
    for step in steps.values():
        seconds(step)
    times = {name: [] for name in steps}
    for _ in range(ROUNDS.value):
        for name, step in steps.items():
            times[name].append(seconds(step))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        low, high = min(values), max(values)
        print(f"{name:16} {medians[name]:.3f} s a step  ({low:.3f} to {high:.3f})")
    dense, budget = medians.values()
    print(f"ratio {budget / dense:.3f}")


if __name__ == "__main__":
    app.run(main)
