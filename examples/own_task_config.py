"""The task of own_task.py: strings of up to 6 digits.

mocanet train examples/own_task_config.py --workdir=runs/successor
"""

from ml_collections import ConfigDict

import mocanet_jax as moca


def get_config(ablation: str | None = None) -> ConfigDict:
    config = moca.base_config()
    config.task = "own_task:SuccessorTask"
    config.data.shortest = 1
    config.data.longest = 6
    config.data.first_longest = 2
    config.model.width = 32
    config.model.experts.count = 0
    config.model.memory.num_slots = 8
    config.model.memory.heads.ring.count = 1
    config.train.learning_rate = 1e-2
    config.train.max_steps = 200
    config.train.eval_every = 100
    config.train.save_every = 100
    config.eval.test_sequences = 256
    config.eval.lengths = (6,)
    return moca.with_ablations(config, ablation)
