"""Language models on the Penn Treebank as Mikolov et al. (2010) prepared it: ptb.train.txt,
ptb.valid.txt and ptb.test.txt in a folder of yours.

    mocanet train ptb:words --config.data.path=DIR
    mocanet train ptb:characters,no_memory --config.data.path=DIR

Words take a quarter of an hour or less, characters an hour and a half on two cores. The corpus
may not be passed on. Characters are those of the same files without the spaces at both ends of
their lines, as in the files with a character a word.
"""

from ml_collections import ConfigDict

from mocanet_jax.train.config import language_config, with_ablations

TASKS = ("words", "characters")


def get_config(names: str | None = None) -> ConfigDict:
    """names: words or characters, then ablations, with commas between."""
    tokens, _, ablations = (names or "").partition(",")
    if tokens not in TASKS:
        raise ValueError(f"write ptb.py:words or ptb.py:characters, not {tokens!r}")
    config = language_config()
    config.data.strip_lines = True
    config.data.tokenizer = tokens
    if tokens == "words":
        config.data.segment = 64
        config.model.cache.num_slots = 64
    else:
        config.model.width = 512
        config.eval.slots_factor = 16
        config.train.batch_size = 64
        config.train.learning_rate = 4e-3
        config.train.warmup_steps = 200
        config.train.max_steps = 12_800
        config.train.eval_every = config.train.save_every = 640
    return with_ablations(config, ablations)
