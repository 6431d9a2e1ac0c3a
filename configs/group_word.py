"""Word problem of the group S5 with two generators, every product scored (form: Merrill et al.,
2024, "The Illusion of State in State-Space Models").

    python -m mocanet_jax.main --config=configs/group_word.py
    python -m mocanet_jax.main --config=configs/group_word.py --config.data.group=A5

Trained on words of up to 40 generators. A layer of finite automata and experts, no memory. Not
solved: docs/experiments/tasks.md.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "group_word"
    config.data.shortest = 1
    config.data.longest = 40
    config.data.first_longest = 4
    config.data.group = "S5"
    config.data.generators = 2
    config.model.controller.automata.count = 8
    config.train.learning_rate = 5e-3
    config.train.max_steps = 2000
    config.train.stop_at_loss = 0.0003
    config.eval.lengths = (10, 20, 30, 40)
    config.eval.long_lengths = (64, 128, 256)
    config.eval.sequences_per_long_length = 32
    return with_ablations(config, ablation)
