"""Language model of facts that change (generated; mocanet_jax/tasks/corpora/facts.py).

python -m mocanet_jax.main --config=configs/facts.py

Facts that changed after training are answered from a datastore (docs/guides/retrieval.md).
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = language_config()
    config.data.path = "facts"
    config.data.documents = "lines"
    config.data.tokenizer = "words"
    config.data.segment = 9  # of the longest line
    config.model.width = 128
    config.model.cache.num_slots = 0
    config.eval.slots_factor = 1
    config.model.experts.hidden_dim = 128
    config.train.batch_size = 128
    config.train.max_steps = 2000
    config.train.eval_every = 500
    config.train.save_every = 500
    config.train.log_every = 50
    return with_ablations(config, ablation)
