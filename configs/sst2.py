"""SST-2 sentiment (GLUE): is a sentence of a film review positive or negative?

    python -m mocanet_jax.main --config=configs/sst2.py
    python -m mocanet_jax.main --config=configs/sst2.py --config.data.path=DIR  # of GLUE

83.4, 84.3 and 82.6 % of validation, three seeds, nothing pretrained; 210 s on 2 CPU cores.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import text_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = text_config()
    config.task = "sst2"
    config.data.path = ""  # folder with train.tsv and dev.tsv; empty for TensorFlow Datasets
    config.data.eval_file = ""  # a TSV to evaluate on in place of the validation split
    config.data.pretrained_embeddings = ""  # GloVe text or npz; empty to start from nothing
    config.data.buckets = (8, 20, 40)
    config.data.held_out = 0.05
    config.data.contrasts = 4000
    config.data.negations = 3000
    config.train.batch_size = 128
    config.train.max_steps = 2000
    config.train.average_decay = 0.998
    config.train.save_every = 400
    config.quality.target_accuracy = 0.82  # of validation; mocanet_jax.quality fails below it
    return with_ablations(config, ablation)
