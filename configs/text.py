"""Classifier of texts of your own: any labels, two or many.

    python -m mocanet_jax.main --config=configs/text.py --config.data.path=DIR

DIR holds train.csv and, if wanted, valid.csv and test.csv, each also .tsv or .jsonl, and also
.gz or .xz; a single file works, too.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import own_texts_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = own_texts_config()
    config.train.batch_size = 32
    config.train.max_steps = 1000
    config.train.average_decay = 0.99
    config.train.save_every = 200
    return with_ablations(config, ablation)
