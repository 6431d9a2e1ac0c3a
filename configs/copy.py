"""Delayed copy of 10 to 60 symbols."""

from ml_collections import ConfigDict

from configs.base import base_config, with_ablation


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "copy"
    config.data.shortest = 10
    config.data.longest = 60
    config.data.first_longest = 8
    config.training.learning_rate = 5e-3
    config.training.max_steps = 500
    config.training.eval_every = 20
    config.training.save_every = 60
    config.training.stop_at_loss = 0.02
    config.eval.lengths = (10, 20, 30, 40, 50, 60)
    config.eval.long_lengths = (120, 250, 500, 1000)
    return with_ablation(config, ablation)
