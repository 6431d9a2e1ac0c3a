"""Delayed copy of 10 to 60 symbols (task: Graves et al., 2014, "Neural Turing Machines").

    python -m mocanet_jax.main --config=configs/copy.py

100 % of tokens at 10-60 symbols and at 120, 250, 500 and 1000, forty seeds of forty, with 9.4
to 9.7 % of the full compute; 120-160 steps.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "copy"
    config.data.shortest = 10
    config.data.longest = 60
    config.data.first_longest = 8
    config.model.memory.heads.ring.count = 1
    config.model.budget.target = 0.1  # it needs 0.093: a write a symbol, a read a symbol
    config.model.budget.base_cost = 0.2
    config.model.memory.quantisation_penalty = 0.1
    config.train.learning_rate = 5e-3
    config.train.max_steps = 500
    config.train.eval_every = 20
    config.train.save_every = 60
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (10, 20, 30, 40, 50, 60)
    config.eval.long_lengths = (120, 250, 500, 1000)
    return with_ablations(config, ablation)
