"""A corpus of few words and a config whose runs on it take seconds."""

from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import sst2
from mocanet_jax.train import loop
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.state import TrainState
from tests.train import tiny

STEPS, SAVE_EVERY, BUCKETS = 6, 2, (4, 8)
WORDS = (["dull", "awful", "bad", "tired"], ["fine", "funny", "great", "warm"])
FILLERS = ["the", "film", "a", "plot", "is", "with", "it", "and", ",", "."]


def sentence(rng: np.random.Generator, words: list[str], label: int) -> str:
    """Three to twelve words, one or two of which give the class."""
    drawn = rng.choice(FILLERS, rng.integers(3, 13)).tolist()
    for place in rng.integers(len(drawn), size=2):
        drawn[place] = str(rng.choice(words[label]))
    return " ".join(drawn)


def write_corpus(folder: Path) -> Path:
    """train.tsv of 60 sentences and the beginning of each, and dev.tsv of 40 sentences, some
    of whose words training never meets."""
    rng = np.random.default_rng(0)
    train = [(sentence(rng, WORDS, i % 2), i % 2) for i in range(60)]
    train += [(" ".join(text.split()[:3]), label) for text, label in train]
    more = WORDS[0] + ["dreary"], WORDS[1] + ["joyful"]
    dev = [(sentence(rng, more, i % 2), i % 2) for i in range(40)]
    for name, rows in (("train.tsv", train), ("dev.tsv", dev)):
        write_tsv(folder / name, rows)
    return folder


def write_tsv(path: Path, rows: list[tuple[str, int]]) -> Path:
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config(folder: Path, **changes) -> ConfigDict:
    """folder: of `write_corpus`. changes: as of tiny.config."""
    config = sst2.get_config()
    config.data.update(path=str(folder), num_pieces=64, max_pieces=6, buckets=BUCKETS)
    config.data.update(held_out=0.3, contrasts=6, negations=4)
    config.model.width = 16
    config.model.experts.update(hidden_dim=16, count=2, exploration=0.2)
    config.model.memory.num_slots = 4
    config.model.memory.heads.content.count = 2
    config.model.budget.target = 0.3
    config.model.classifier.update(piece_dim=4, num_members=2)
    config.model.classifier.update(word_dropout=0.1, embedding_dropout=0.1, dropout=0.1)
    config.train.update(batch_size=8, max_steps=STEPS, warmup_steps=1, log_every=1)
    config.train.update(eval_every=SAVE_EVERY, save_every=SAVE_EVERY)
    config.train.update(learning_rate=0.02, average_decay=0.9)
    return tiny.changed(config, changes).lock()


def state_at(step: int, workdir: Path, config: ConfigDict) -> TrainState:
    """What a run in `workdir` saved at a step."""
    like = jax.eval_shape(loop.prepared(config, workdir).trainer.initial_state)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(step, like)
