"""Repeat copy of 1 to 10 symbols, 1 to 10 times (task: Graves et al., 2014).

python -m mocanet_jax.main --config=configs/repeat_copy.py
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "repeat_copy"
    config.data.shortest = 1
    config.data.longest = 10
    config.data.first_longest = 2
    config.data.max_repeats = 10
    config.model.memory.heads.loop.count = 4
    config.model.memory.heads.loop.max_wraps = 10
    config.model.memory.active_slots = 7
    config.model.memory.heads.loop.sharpness = 0.3
    config.model.budget.base_cost = 0.2  # writes of blanks keep a loop from closing
    config.model.budget.base_cost_when_grown = 0.02
    config.model.memory.quantisation_penalty = 0.1
    config.train.gradient_clip_norm = 0.1
    config.train.curriculum.accuracy = 0.95
    config.train.curriculum.growth = 1.0  # a repeat more
    config.train.curriculum.retreat = 0.93
    config.train.max_steps = 1500
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (1, 2, 4, 6, 8, 10)
    config.eval.long_lengths = (15, 20)
    config.eval.sequences_per_long_length = 128
    return with_ablations(config, ablation)
