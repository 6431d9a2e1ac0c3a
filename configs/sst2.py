"""SST-2 sentiment (GLUE): is a sentence of a film review positive or negative?

    python -m mocanet_jax.main --config=configs/sst2.py
    python -m mocanet_jax.main --config=configs/sst2.py --config.data.path=DIR  # of GLUE

83.4, 84.3 and 82.6 % of validation, three seeds, nothing pretrained; 210 s on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs.base import base_config, with_ablation


def get_config(ablation: str | None = None) -> ConfigDict:
    config = base_config()
    config.task = "sst2"
    config.data.path = ""  # folder with train.tsv and dev.tsv; empty for TensorFlow Datasets
    config.data.eval_file = ""  # a TSV to evaluate on in place of the validation split
    config.data.pretrained_embeddings = ""  # GloVe text or npz; empty to start from nothing
    config.data.min_freq = 1
    config.data.max_vocab_size = 50_000
    config.data.num_pieces = 16_384
    config.data.max_pieces = 24
    config.data.buckets = (8, 20, 40)
    config.data.held_out = 0.05
    config.data.label_smoothing = 0.02
    config.data.contrasts = 4000
    config.data.negations = 3000
    config.model.target_budget = 0.35
    config.model.budget_loss_weight = 0.01
    config.model.num_members = 1
    config.model.word_dropout = 0.1
    config.model.embedding_dropout = 0.2
    config.model.dropout = 0.3
    config.model.piece_dim = 32
    config.model.bidirectional = True
    config.model.num_memory_heads = 1
    config.model.num_location_heads = 0
    config.model.num_memory_slots = 16
    config.model.top_k_slots = 2
    config.training.batch_size = 128
    config.training.max_steps = 2000
    config.training.learning_rate = 2e-3
    config.training.warmup_steps = 100
    config.training.weight_decay = 0.1
    config.training.average_decay = 0.998
    config.training.state_noise = 0.0
    config.training.log_every = 50
    config.training.eval_every = 200
    config.training.save_every = 400
    config.quality = ConfigDict()
    config.quality.target_accuracy = 0.82  # of validation; mocanet_jax.quality fails below it
    return with_ablation(config, ablation)
