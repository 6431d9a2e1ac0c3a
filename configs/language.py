"""Language model of a text of one's own: characters, or --config.data.tokenizer=words.

python -m mocanet_jax.main --config=configs/language.py --config.data.path=FILE_OR_DIR
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    return with_ablations(language_config(), ablation)
