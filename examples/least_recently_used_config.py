"""Noisy recall, as configs/mqar.py:noisy, with the head of least_recently_used.py.

mocanet train examples/least_recently_used_config.py --workdir=runs/least_recently_used
"""

from ml_collections import ConfigDict

import mocanet_jax as moca


def get_config(ablation: str | None = None) -> ConfigDict:
    config = moca.base_config()
    config.task = "mqar"
    config.data.shortest = config.data.longest = config.data.first_longest = 32
    config.data.vocab_size = 1024
    config.data.input_length = 64
    config.data.power = 0.01
    config.data.random_filler = True
    config.data.noise = 2
    config.model.memory.heads.least_recently_used = ConfigDict(
        {"kind": "least_recently_used:LeastRecentlyUsed", "count": 2}
    )
    config.model.memory.num_slots = 48
    config.train.batch_size = 16
    config.train.curriculum.shortest = 32
    config.train.max_steps = 400
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (32,)
    config.eval.tokens_per_batch = 4096
    return moca.with_ablations(config, ablation)
