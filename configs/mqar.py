"""Multi-query associative recall with 4 to 64 pairs (task: Arora et al., 2023, "Zoology").

    python -m mocanet_jax.main --config=configs/mqar.py
    python -m mocanet_jax.main --config=configs/mqar.py:noisy

Accuracy by length is accuracy by the number of pairs N, in T = max(64, 4N) steps: T/N of 64/4,
64/8, 64/16, 128/32 and 256/64. For one of these alone set data.shortest, data.longest,
data.first_longest and train.curriculum.shortest to N, and eval.lengths to (N,).

`noisy`: 32 pairs among as many tokens that mean nothing, 192 steps in all, and slots for a
quarter of them, so that what is kept has to be chosen.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import base_config, with_ablations

NOISY = "noisy"


def get_config(names: str | None = None) -> ConfigDict:
    """names: noisy or nothing, then ablations, with commas between."""
    first, _, ablations = (names or "").partition(",")
    noisy = first == NOISY
    config = base_config()
    config.task = "mqar"
    config.data.shortest = 4
    config.data.longest = 64
    config.data.first_longest = 4
    config.data.vocab_size = 8192
    config.data.input_length = 64
    config.data.power = 0.01
    config.data.random_filler = True
    config.data.noise = 0
    config.model.memory.heads.association.count = 2
    config.model.memory.num_slots = 256
    config.train.batch_size = 16  # logits take 134 MB, at every step over all of V
    config.train.curriculum.shortest = 4
    config.train.max_steps = 1000
    config.train.stop_at_loss = 0.005
    config.eval.lengths = (4, 8, 16, 32, 64)
    config.eval.tokens_per_batch = 4096
    if noisy:
        config.data.shortest = config.data.longest = config.data.first_longest = 32
        config.data.vocab_size = 1024
        config.data.noise = 2
        config.model.memory.heads.association.eviction = "least_important"
        config.model.memory.num_slots = 48
        config.train.curriculum.shortest = 32
        config.train.max_steps = 400
        config.eval.lengths = (32,)
    return with_ablations(config, ablations if noisy else names)
