"""Word problem of the groups S5 and A5 with four generators, every product scored (form:
Merrill et al., 2024, "The Illusion of State in State-Space Models").

    python -m mocanet_jax.main --config=configs/group_word.py
    python -m mocanet_jax.main --config=configs/group_word.py --config.data.group=A5

Trained on words of 40 generators. A layer of finite automata and experts, no memory.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "group_word"
    config.data.shortest = 1
    config.data.longest = 40
    config.data.first_longest = 39  # soft until such words are learned, then 40, and hard
    config.data.group = "S5"
    config.data.generators = 4
    config.model.controller.automata.count = 32
    config.train.learning_rate = 5e-3
    config.train.curriculum.shortest = 39  # holds words of every length
    config.train.curriculum.accuracy = 0.99
    config.train.max_steps = 4000
    config.train.stop_at_loss = 0.0003
    config.eval.lengths = (10, 20, 30, 40)
    config.eval.long_lengths = (64, 128, 256)
    config.eval.sequences_per_long_length = 32
    return with_ablations(config, ablation)
