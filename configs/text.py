"""Classifier of texts of your own: any labels, two or many.

    python -m mocanet_jax.main --config=configs/text.py --config.data.path=DIR

DIR holds train.csv and, if wanted, valid.csv and test.csv, each also .tsv or .jsonl, and also
.gz or .xz; a single file works, too.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import text_config, with_ablations


def get_config(ablation: str | None = None) -> ConfigDict:
    config = text_config()
    config.task = "text"
    config.data.path = ""
    config.data.text_column = ""
    config.data.label_column = ""
    config.data.encoding = ""
    config.data.valid_share = 0.1
    config.data.eval_file = ""
    config.data.pretrained_embeddings = ""
    config.data.min_freq = 1
    config.data.max_vocab_size = 50_000
    config.data.num_pieces = 16_384
    config.data.max_pieces = 24
    config.data.buckets = ()
    config.data.label_smoothing = 0.02
    config.model.budget.target = 0.35
    config.model.budget.base_cost = 0.01
    config.model.classifier.word_dropout = 0.1
    config.model.classifier.embedding_dropout = 0.2
    config.model.classifier.dropout = 0.3
    config.model.memory.heads.content.count = 1
    config.model.memory.num_slots = 16
    config.model.memory.active_slots = 2
    config.train.batch_size = 32
    config.train.max_steps = 1000
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 100
    config.train.weight_decay = 0.1
    config.train.average_decay = 0.99
    config.train.state_noise = 0.0
    config.train.log_every = 50
    config.train.eval_every = 200
    config.train.save_every = 200
    return with_ablations(config, ablation)
