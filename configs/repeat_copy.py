"""Repeat copy of 1 to 10 symbols, 1 to 10 times (task: Graves et al., 2014).

python -m mocanet_jax.main --config=configs/repeat_copy.py
"""

from ml_collections import ConfigDict

from configs.base import base_config, with_ablation


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "repeat_copy"
    config.data.shortest = 1
    config.data.longest = 10
    config.data.first_longest = 2
    config.data.max_repeats = 10
    config.model.num_memory_heads = 4
    config.model.num_location_heads = 4
    config.model.tape = "loop"
    config.model.max_laps = 10
    config.model.top_k_slots = 7
    config.model.pointer_sharpness = 0.3
    config.model.budget_loss_weight = 0.2  # writes of blanks keep a loop from closing
    config.model.budget_loss_when_grown = 0.02
    config.model.commitment_loss_weight = 0.1
    config.training.gradient_clip_norm = 0.1
    config.training.curriculum_accuracy = 0.95
    config.training.curriculum_growth = 1.0  # a repeat more
    config.training.curriculum_retreat = 0.93
    config.training.max_steps = 1500
    config.training.stop_at_loss = 0.005
    config.eval.lengths = (1, 2, 4, 6, 8, 10)
    config.eval.long_lengths = (15, 20)
    config.eval.sequences_per_long_length = 128
    return with_ablation(config, ablation)
