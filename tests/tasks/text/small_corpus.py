"""A corpus of a few sentences and the phrases in them, in three classes, and a task on it."""

from typing import ClassVar

import numpy as np

from mocanet_jax.tasks.text.labelled import LabelledTexts, labelled_texts
from mocanet_jax.tasks.text.task import TextTask

SENTENCES = [
    ("a warm and funny film", 2),
    ("the plot is dull", 0),
    ("funny film , dull plot", 1),
    ("nobody will remember this plot next week", 0),
    ("it is a film", 1),
    ("what a cast !", 2),
    ("we laughed until it hurt", 2),
    ("not one joke lands", 0),
    ("this one is for the fans", 1),
    ("warm , witty and wise", 2),
]
PHRASES = [
    ("funny film", 2),
    ("dull", 0),
    ("a film", 1),
    ("warm and funny", 2),
    ("remember this plot next week", 0),
    ("joke lands", 1),
]
VALIDATION = [("a dull cast", 0), ("witty film , funny jokes", 2), ("this plot", 1)]


def corpus(rows: list[tuple[str, int]]) -> LabelledTexts:
    return labelled_texts(*map(list, zip(*rows, strict=True)))


def of_tokens(texts: list[list[str]]) -> LabelledTexts:
    """Tokenised texts; every label is the row's number."""
    return LabelledTexts(
        [" ".join(tokens) for tokens in texts], texts, np.arange(len(texts), dtype=np.int32)
    )


class SmallTask(TextTask):
    """Reads the lists above."""

    classes: ClassVar[tuple[str, ...]] = ("bad", "mixed", "good")

    def read_train(self) -> LabelledTexts:
        return corpus(SENTENCES + PHRASES)

    def read_validation(self) -> LabelledTexts:
        return corpus(VALIDATION)


SETTINGS = {
    "path": "",
    "eval_file": "",
    "pretrained_embeddings": "",
    "min_freq": 1,
    "max_vocab_size": 1000,
    "num_pieces": 5000,
    "max_pieces": 6,
    "buckets": (2, 4, 6),
    "held_out": 0.3,
    "label_smoothing": 0.1,
    "seed": 0,
}


def small_task(**changes) -> SmallTask:
    return SmallTask(**SETTINGS | changes)
