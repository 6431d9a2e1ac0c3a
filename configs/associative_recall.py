"""Associative recall in lists of 2 to 6 items (task: Graves et al., 2014).

python -m mocanet_jax.main --config=configs/associative_recall.py
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "associative_recall"
    config.data.shortest = 2
    config.data.longest = 6
    config.data.first_longest = 2
    config.model.num_layers = 2
    config.model.memory.heads.association.count = 2
    config.train.curriculum.shortest = 2
    config.train.max_steps = 1000
    config.train.stop_at_loss = 0.0005
    config.eval.lengths = (2, 3, 4, 5, 6)
    config.eval.long_lengths = (12, 20)
    config.eval.sequences_per_long_length = 256
    return with_ablations(config, ablation)
