"""Induction heads over 256 tokens (task: Gu and Dao, 2023, "Mamba").

    python -m mocanet_jax.main --config=configs/induction_heads.py

Seed 0: 100 % at 256 and 4,096 tokens and 8 sequences of 8 at 1,048,576, three or four tokens of
which are written; 350 steps.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "induction_heads"
    config.data.shortest = 256
    config.data.longest = 256
    config.data.first_longest = 16
    config.model.memory.heads.association.count = 2
    config.model.memory.quantisation_penalty = 0.1
    config.model.budget.target = 0.002  # it needs 0.0008: a write and a read a sequence
    config.model.budget.base_cost = 0.2
    config.train.learning_rate = 5e-3
    config.train.batch_size = 16
    config.train.curriculum.shortest = 4
    config.train.max_steps = 1000
    config.train.stop_at_loss = 0.0005
    config.eval.lengths = (64, 128, 256)
    config.eval.long_lengths = (1024, 4096)
    return with_ablations(config, ablation)
