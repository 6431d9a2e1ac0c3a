"""The fields of every config, with their defaults and meanings.

A count of 0 says that a part is absent.
"""

from ml_collections import ConfigDict

from mocanet_jax.runtime import docstrings

_HEADS, _HEAD = "mocanet_jax.nn.heads", ("mocanet_jax.nn.heads.base", "Head")

HEADS = docstrings.classes(_HEADS, "KINDS")
"""Kinds of memory heads: module and name of their classes."""


def _head_fields(module, name):
    """Fields of a kind of memory head, with what its docstring says of them."""
    inherited, meanings = docstrings.defaults(*_HEAD), docstrings.attributes(module, name)
    fields = docstrings.defaults(module, name).items()
    own = {n: (default, meanings[n]) for n, default in fields if n not in inherited}
    return {"count": (0, "number of such heads")} | own


MODEL = {
    "name": (
        "moca",
        "moca, or one of config.baseline, whose sizes then take their place; of texts also bow",
    ),
    "width": (128, "D, width of the residual stream"),
    "num_layers": (1, "MOCA layers"),
    "controller": {
        "enabled": (True, "gated linear recurrence before the router"),
        "kind": (
            "gated",
            "gated: linear, parallel over time; lstm: gates see the state",
        ),
        "counters": ((), "sizes of counters, each modulo its size"),
        "automata": {
            "count": (0, "A, finite automata"),
            "states": (8, "N, states of each"),
            "maps": (8, "K, permutations of states, of which each token chooses one"),
        },
    },
    "memory": {
        "num_slots": (64, "S, slots of every head; can be enlarged after training"),
        "head_width": (0, "P, of a head's values, keys and queries; 0 for width / heads"),
        "active_slots": (3, "A, slots per access; at 1 addresses have no gradient"),
        "quantisation_penalty": (
            0.0,
            "weight of the commitment loss on decisions that are made hard, in nats",
        ),
        "heads": {kind: _head_fields(*place) for kind, place in HEADS.items()},
    },
    "experts": {
        "count": (4, "E, number of experts"),
        "top_k": (1, "K, the most experts a token can use"),
        "kind": ("mlp", "mlp, gated, or module:Class, called with hidden_dim"),
        "hidden_dim": (128, "F, hidden width of an expert"),
        "capacity_factor": (1.25, "room per expert in training, times the even share"),
        "groups": (0, "G, of experts, of which a token scores a few alone; 0 for none"),
        "capacity_pool": (1, "sequences that share the experts' room in training"),
        "exploration": (0.01, "share of tokens that in training try a closed expert"),
        "balance_loss_weight": (0.01, "of the load-balancing loss"),
        "z_loss_weight": (0.001, "of the router z-loss, with fixed routing"),
    },
    "cache": {
        "num_slots": (0, "S, last tokens that a language model may copy; can be enlarged"),
        "width": (64, "K, width of their keys"),
    },
    "budget": {
        "routing": (
            "dynamic",
            "dynamic: gates; topk: K experts, a write and a read a token; random: by chance",
        ),
        "target": (1.0, "τ, share in [0, 1] of the FLOPs of everything on"),
        "base_cost": (0.05, "nats for the full compute, whatever the target"),
        "base_cost_when_grown": (1.0, "factor on base_cost once training lengths are grown"),
        "multiplier_rate": (0.3, "step size of the multiplier λ, in logits"),
    },
    "slot_bits": (
        32,
        "bits of each number that association heads and a cache keep: 32, 8 or 4",
    ),
    "tied_head": (True, "head is the transposed embedding; else a matrix of its own"),
    "dropout": (0.0, "share of features set to 0 in training, of every model of sequences"),
    "remat": (False, "rematerialise layers for their gradient, to save memory"),
    "dtype": ("float32", "of activations: float32 or bfloat16"),
    "time": ("auto", "scan, parallel, or auto: scan on CPU, parallel on accelerators"),
}

BASELINE = {
    "lstm": {
        "num_layers": (1, "layers"),
        "width": (256, "width of states"),
        "mlp_dim": (0, "hidden width of an MLP behind each layer"),
        "tied_head": (True, "head is the transposed embedding"),
    },
    "transformer": {
        "num_layers": (2, "layers"),
        "width": (128, "width of the residual stream"),
        "num_heads": (4, "attention heads"),
        "mlp_dim": (352, "hidden width of the MLP"),
        "tied_head": (True, "head is the transposed embedding"),
    },
    "deltanet": {
        "num_layers": (2, "layers"),
        "width": (128, "width of the residual stream"),
        "num_heads": (2, "heads"),
        "key_dim": (64, "width of keys per head"),
        "value_dim": (64, "width of values per head; a layer's state is heads · key · value"),
        "chunk_size": (16, "tokens per chunk of the chunked form"),
        "mlp_dim": (352, "hidden width of the MLP"),
        "tied_head": (True, "head is the transposed embedding"),
    },
}

TRAIN = {
    "init_from": ("", "run whose parameters this one starts from, matched by path and word"),
    "batch_size": (32, "sequences per step"),
    "accumulate_steps": (1, "parts of a batch, one after another, to save memory"),
    "max_steps": (300, "steps"),
    "max_minutes": (0.0, "compilation included; 0 for no limit"),
    "learning_rate": (3e-3, "peak of the schedule"),
    "warmup_steps": (20, "linear warm-up, at most half of max_steps"),
    "gradient_clip_norm": (1.0, "global norm"),
    "weight_decay": (0.01, "of AdamW"),
    "adam_b2": (0.99, "of AdamW"),
    "average_decay": (0.0, "of the running average that is evaluated; 0 for none"),
    "state_noise": (0.3, "standard deviation of noise on the controllers' first state"),
    "curriculum": {
        "shortest": (1, "shortest training length"),
        "accuracy": (0.97, "a batch above it makes training lengths grow"),
        "growth": (1.1, "factor per growth, plus one"),
        "retreat": (0.75, "running accuracy below it: the task is lost, and starts shorter"),
    },
    "log_every": (10, "steps"),
    "eval_every": (50, "steps"),
    "save_every": (50, "steps, a multiple of eval_every"),
    "on_nonfinite": ("stop", "stop, or skip: learn nothing from such a batch"),
    "on_changed_data": ("stop", "stop, or accept: go on where data changed between two parts"),
    "nonfinite_patience": (10, "batches to skip in a row before giving up"),
    "stop_at_loss": (0.0, "nats of validation; 0 never stops early"),
}

EVAL = {
    "validation_sequences": (256, "sequences of a validation"),
    "test_sequences": (1024, "sequences of the final evaluation over the range of training"),
    "lengths": ((), "lengths evaluated within the range of training"),
    "sequences_per_length": (256, "sequences at each of them"),
    "long_lengths": ((), "lengths evaluated beyond the range of training"),
    "sequences_per_long_length": (16, "sequences at each of them"),
    "tokens_per_batch": (16_512, "tokens of an evaluation batch, which bounds memory"),
}

FIELDS = {
    "task": ("", "name of a task, or module:Class"),
    "seed": (0, "of parameters, data and noise"),
    "data": {},
    "mesh": {
        "data": (-1, "devices that split a batch; -1 for all that are left"),
        "expert": (1, "devices that share the experts of one copy of the model"),
    },
    "model": MODEL,
    "baseline": BASELINE,
    "train": TRAIN,
    "eval": EVAL,
}


TEXT_FIELDS = {
    "model": {
        "classifier": {
            "num_members": (1, "N, readers of the ensemble"),
            "bidirectional": (True, "the same layers read forwards and from the end"),
            "piece_dim": (32, "width of the vectors of character n-grams"),
            "word_dropout": (0.0, "share of words hidden in training"),
            "embedding_dropout": (0.0, "share of numbers of word vectors set to 0 in training"),
            "dropout": (0.0, "share of features set to 0 in training"),
            "segment": (0, "words that are read at a time, to bound memory; 0 for whole texts"),
        }
    },
    "quality": {"target_accuracy": (0.0, "of validation; mocanet quality fails below it")},
}
"""Of text classifiers alone."""


LANGUAGE_FIELDS = {
    "eval": {
        "segment": (512, "tokens of a stream that are read at a time"),
        "streams": (16, "documents that are read beside each other"),
        "slots_factor": (
            1,
            "memory and cache have so many times the slots they had in training",
        ),
        "validation_tokens": (100_000, "most tokens of the validation split while training"),
    }
}
"""Of language models alone."""


def base_config() -> ConfigDict:
    """All fields at their defaults."""
    return _defaults(FIELDS)


def text_config() -> ConfigDict:
    """All fields of a text classifier, with sizes and a schedule that its configs share."""
    config = base_config()
    config.update(_defaults(TEXT_FIELDS))
    config.data.min_freq = 1
    config.data.max_vocab_size = 50_000
    config.data.num_pieces = 16_384
    config.data.max_pieces = 24
    config.data.label_smoothing = 0.02
    config.data.soft_labels = ""
    config.data.nonsense_share = 0.02
    config.model.budget.target = 0.35
    config.model.budget.base_cost = 0.01
    config.model.classifier.word_dropout = 0.1
    config.model.classifier.embedding_dropout = 0.2
    config.model.classifier.dropout = 0.3
    config.model.memory.heads.content.count = 1
    config.model.memory.num_slots = 16
    config.model.memory.active_slots = 2
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 100
    config.train.weight_decay = 0.1
    config.train.state_noise = 0.0
    config.train.log_every = 50
    config.train.eval_every = 200
    return config


def own_texts_config() -> ConfigDict:
    """All fields of a classifier of texts that come with labels of their own."""
    config = text_config()
    config.task = "text"
    config.data.path = ""
    config.data.text_column = ""
    config.data.label_column = ""
    config.data.encoding = ""
    config.data.valid_share = 0.1
    config.data.eval_file = ""
    config.data.pretrained_embeddings = ""
    config.data.buckets = ()
    return config


def language_config() -> ConfigDict:
    """All fields of a language model, with sizes and a schedule that its configs share."""
    config = base_config()
    config.task = "language"
    config.update(_defaults(LANGUAGE_FIELDS))
    config.data.path = ""
    config.data.strip_lines = False
    config.data.documents = "none"
    config.data.tokenizer = "characters"
    config.data.min_freq = 1
    config.data.max_vocab_size = 10_000
    config.data.valid_share = 0.1
    config.data.test_share = 0.0
    config.data.segment = 128
    config.model.width = 256
    config.model.num_layers = 1
    config.model.controller.kind = "lstm"
    config.model.tied_head = False
    config.model.budget.routing = "topk"
    config.model.cache.num_slots = 256
    config.eval.slots_factor = 4
    config.model.dropout = 0.1
    config.model.experts.hidden_dim = 256
    config.model.budget.base_cost = 0.0
    config.train.learning_rate = 5e-3
    config.train.batch_size = 16
    config.train.max_steps = 3300
    config.train.eval_every = 825
    config.train.save_every = 825
    config.train.log_every = 20
    config.train.state_noise = 0.0  # streams go on from states of their own
    return config


def _defaults(fields):
    defaults = lambda x: _defaults(x) if isinstance(x, dict) else x[0]
    return ConfigDict({name: defaults(value) for name, value in fields.items()})
