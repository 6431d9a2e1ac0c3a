"""Priority sort of up to 20 symbols (task: Graves et al., 2014).

python -m mocanet_jax.main --config=configs/priority_sort.py
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "priority_sort"
    config.data.shortest = 1
    config.data.longest = 20
    config.data.first_longest = 3
    config.model.controller.enabled = False  # a trace of earlier tokens would blur ranks
    config.model.memory.heads.priority_queue.count = 4
    config.model.memory.heads.priority_queue.sharpness = 0.3
    config.model.budget.base_cost_when_grown = 0.1
    config.model.memory.quantisation_penalty = 0.1
    config.train.learning_rate = 5e-3
    config.train.max_steps = 1500
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (5, 10, 15, 20)
    config.eval.long_lengths = (30, 40)
    config.eval.sequences_per_long_length = 128
    return with_ablations(config, ablation)
