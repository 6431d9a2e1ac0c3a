"""Eleven formal languages (tasks: Delétang et al., 2023, "Neural networks and the Chomsky
hierarchy").

    python -m mocanet_jax.main --config=configs/formal_language.py:reverse_string
    python -m mocanet_jax.main --config=configs/formal_language.py:parity_check,no_memory

Trained on lengths up to 40. The score of a task is the mean accuracy over lengths 41 to 500,
here over 18 of them with even distances, odd and even lengths in turn.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations

TASKS = (
    "parity_check",
    "even_pairs",
    "cycle_navigation",
    "modular_arithmetic",
    "reverse_string",
    "stack_manipulation",
    "duplicate_string",
    "odds_first",
    "missing_duplicate",
    "binary_addition",
    "bucket_sort",
)


def get_config(names: str | None = None) -> ConfigDict:
    """names: a task of TASKS, then ablations, with commas between."""
    task, _, ablations = (names or "").partition(",")
    if task not in TASKS:
        raise ValueError(
            f"{task!r} is no formal language; write formal_language.py:TASK, with one of "
            f"{', '.join(TASKS)}"
        )
    config = base_config()
    config.task = task
    config.data.shortest = 1
    config.data.longest = 40
    config.data.first_longest = 8
    heads = config.model.memory.heads
    if task == "stack_manipulation":
        head, heads.stack.count = heads.stack, 4
    elif task == "bucket_sort":
        head, heads.priority_queue.count = heads.priority_queue, 4
    else:
        head, heads.loop.count = heads.loop, 4
    head.sharpness = 0.3
    config.model.memory.active_slots = 7  # bits say little: learn from neighbours
    # Several of each size: a search finds the one that starts nearest.
    config.model.controller.counters = 6 * (2,) + 2 * (3,) + 4 * (5,)
    config.train.learning_rate = 5e-3
    config.train.max_steps = 2000
    config.train.stop_at_loss = 0.0003
    config.eval.lengths = (10, 20, 30, 40)
    config.eval.long_lengths = tuple(range(41, 501, 27))
    config.eval.sequences_per_long_length = 32
    return with_ablations(config, ablations)
