"""Language model of characters on tiny-shakespeare (Karpathy, 2015).

python -m mocanet_jax.main --config=configs/tiny_shakespeare.py

The text comes from TensorFlow Datasets, or from --config.data.path=FILE, of which the first
90 % are trained on and the rest is for validation, as nanoGPT splits it.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = language_config()
    config.data.path = "tiny_shakespeare"
    config.eval.slots_factor = 16
    return with_ablations(config, ablation)
