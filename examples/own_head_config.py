"""The task and the head of own_head.py.

mocanet train examples/own_head_config.py --workdir=runs/register
"""

from ml_collections import ConfigDict

import mocanet_jax as moca


def get_config(ablation: str | None = None) -> ConfigDict:
    config = moca.base_config()
    config.task = "own_head:LastDigitTask"
    config.data.shortest = 1
    config.data.longest = 8
    config.data.first_longest = 2
    config.model.width = 32
    config.model.controller.enabled = False
    config.model.experts.count = 0
    # Any name that is not a kind of the package; the other fields are arguments of the class.
    config.model.memory.heads.register = ConfigDict(
        {"kind": "own_head:Register", "count": 2, "start": 0.0}
    )
    config.train.learning_rate = 1e-2
    config.train.max_steps = 400
    config.train.eval_every = 200
    config.train.save_every = 200
    config.eval.test_sequences = 256
    config.eval.lengths = (8,)
    return moca.with_ablations(config, ablation)
