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
    config.model.width = 256
    config.model.num_layers = 2
    config.model.tied_head = False
    config.model.memory.heads.association.count = 1
    config.model.memory.head_width = 64
    config.model.experts.hidden_dim = 256
    config.model.budget.base_cost = 0.0
    config.train.batch_size = 32
    config.train.max_steps = 2000
    config.train.eval_every = 200
    config.train.save_every = 200
    config.train.log_every = 20
    return with_ablations(config, ablation)
