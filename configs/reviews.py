"""Language model of words over film reviews, each a document (IMDb: Maas et al., 2011).

python -m mocanet_jax.main --config=configs/reviews.py
python -m mocanet_jax.main --config=configs/reviews.py --config.data.tokenizer=bpe

The text comes from TensorFlow Datasets, or from --config.data.path=FILE_OR_DIR with a review a
line; a file without splits gives 2 % of its reviews to validation.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = language_config()
    config.data.path = "imdb_reviews"
    config.data.documents = "lines"
    config.data.tokenizer = "words"
    config.data.min_freq = 5
    config.data.valid_share = 0.02
    config.data.segment = 64
    return with_ablations(config, ablation)
