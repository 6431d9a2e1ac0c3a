"""Priority sort of up to 20 symbols (task: Graves et al., 2014).

python -m mocanet_jax.main --config=configs/priority_sort.py
"""

from ml_collections import ConfigDict

from configs.base import base_config, with_ablation


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "priority_sort"
    config.data.shortest = 1
    config.data.longest = 20
    config.data.first_longest = 4
    config.model.num_layers = 2
    config.model.num_memory_heads = 2  # one by location, one by content
    config.model.top_k_slots = 8
    config.training.max_steps = 3000
    config.training.stop_at_loss = 0.005
    config.eval.lengths = (5, 10, 15, 20)
    config.eval.long_lengths = (30, 40)
    config.eval.sequences_per_long_length = 128
    return with_ablation(config, ablation)
