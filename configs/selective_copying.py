"""Selective copying of 16 symbols among 256 tokens (task: Jing et al., 2019; sizes: Gu and Dao,
2023, "Mamba", who have 4,096 tokens).

    python -m mocanet_jax.main --config=configs/selective_copying.py

100 % of symbols at 64 to 4,096 tokens, three seeds of three; 100-200 steps.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "selective_copying"
    config.data.shortest = 256
    config.data.longest = 256
    config.data.first_longest = 8
    config.data.payload = 16
    heads = config.model.memory.heads
    heads.loop.count = 4  # its write pointer rests at what it does not write
    heads.loop.sharpness = 0.3
    config.model.memory.active_slots = 7  # 14 symbols say little: learn from neighbours
    config.model.memory.quantisation_penalty = 0.1
    config.train.learning_rate = 5e-3
    config.train.batch_size = 16
    config.train.max_steps = 1000
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (64, 128, 256)
    config.eval.long_lengths = (1024, 4096)
    return with_ablations(config, ablation)
