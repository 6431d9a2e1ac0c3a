"""A small text, and a config of a language model whose runs on it take seconds."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config
from tests.train import tiny

STEPS, SEGMENT, STREAMS = 6, 5, 2
NAMES = ["ada", "bob", "cy"]


def text(lines: int = 30) -> str:
    """Lines "ada meets bob." with names that come again."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(NAMES, (lines, 2))
    return "".join(f"{one} meets {other}.\n" for one, other in pairs)


def config(file: Path, **changes) -> ConfigDict:
    """file: of the text, of which a fifth is for validation. changes: as of tiny.config."""
    config = language_config()
    config.data.update(path=str(file), strip_lines=False, documents="none")
    config.data.tokenizer = "characters"
    config.data.update(min_freq=1, max_vocab_size=64, valid_share=0.2, test_share=0.0)
    config.data.segment = SEGMENT
    config.model.update(width=8, num_layers=1, tied_head=True, dropout=0.0)
    config.model.budget.base_cost = 0.05
    config.model.memory.update(num_slots=4, head_width=0)
    config.model.memory.heads.association.count = 1
    config.model.cache.update(num_slots=4, width=4)
    config.model.experts.update(count=2, hidden_dim=8)
    config.train.update(batch_size=STREAMS, max_steps=STEPS, warmup_steps=1, log_every=1)
    config.train.update(eval_every=2, save_every=2)
    config.eval.update(segment=7, streams=3, slots_factor=1)
    return tiny.changed(config, changes).lock()
