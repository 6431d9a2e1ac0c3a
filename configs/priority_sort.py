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
    config.data.first_longest = 3
    config.model.use_controller = False  # a trace of earlier tokens would blur ranks
    config.model.num_memory_heads = 2
    config.model.num_location_heads = 0
    config.model.num_order_heads = 2
    config.model.pointer_sharpness = 0.3
    config.model.budget_loss_when_grown = 0.1
    config.model.commitment_loss_weight = 0.1
    config.training.learning_rate = 5e-3
    config.training.max_steps = 1500
    config.training.stop_at_loss = 0.005
    config.eval.lengths = (5, 10, 15, 20)
    config.eval.long_lengths = (30, 40)
    config.eval.sequences_per_long_length = 128
    return with_ablation(config, ablation)
