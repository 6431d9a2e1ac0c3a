"""What the tasks of Delétang et al. (2023, "Neural networks and the Chomsky hierarchy") share.

Trained on lengths up to 40. The score of a task is the mean accuracy over lengths 41 to 500,
here over 18 of them with even distances, odd and even lengths in turn.
"""

from ml_collections import ConfigDict

from configs.base import base_config


def formal_language_config(task: str) -> ConfigDict:
    config = base_config()
    config.task = task
    config.data.shortest = 1
    config.data.longest = 40
    config.data.first_longest = 8
    config.model.num_memory_heads = 4
    config.model.num_location_heads = 4
    config.model.tape = "loop"
    config.model.top_k_slots = 7  # bits say little: pointers learn from what is around them
    config.model.pointer_sharpness = 0.3
    config.model.counters = (2, 2, 3, 5)
    config.training.learning_rate = 5e-3
    config.training.max_steps = 2000
    config.training.stop_at_loss = 0.0003
    config.eval.lengths = (10, 20, 30, 40)
    config.eval.long_lengths = tuple(range(41, 501, 27))
    config.eval.sequences_per_long_length = 32
    return config
