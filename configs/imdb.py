"""Sentiment of whole film reviews (IMDb: Maas et al., 2011), hundreds of words each.

    python -m mocanet_jax.main --config=configs/imdb.py
    python -m mocanet_jax.main --config=configs/imdb.py --config.data.path=FILE_OR_DIR

The reviews come from TensorFlow Datasets, or from files as those of configs/text.py.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import own_texts_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = own_texts_config()
    config.data.path = "imdb_reviews"
    config.data.buckets = (160, 320, 640)
    config.data.min_freq = 3
    config.model.classifier.segment = 160
    config.train.batch_size = 32
    config.train.max_steps = 2100
    config.train.average_decay = 0.998
    config.train.eval_every = 350
    config.train.save_every = 350
    return with_ablations(config, ablation)
