"""Texts that say nothing about any class: marks, numbers, and words that nobody wrote before.

    "! ! ?"    "tlerifa nuso the ocdt"    "408 17"

A classifier that has only seen texts with a label is sure of its answer to anything. Trained on
a few of these, with the frequencies of the classes as their probabilities, it has learned what
to answer where nothing is known (as outlier exposure: Hendrycks et al., 2019).

Axes: C classes.
"""

from collections import Counter
from itertools import chain

import numpy as np

from mocanet_jax.tasks.text.labelled import LabelledTexts

MARKS = ("!", "?", ".", ",", "...", "-", "--", ";", ":", "'", "''", "``", "*", "/", "(", ")")
LONGEST = 16
"""Words of such a text."""

COMMON = 24
"""So many of the most frequent words of training stand between invented ones."""

COMMON_SHARE = 0.3


def nonsense(texts: LabelledTexts, num_classes: int, count: int, seed: int) -> LabelledTexts:
    """`count` such texts, drawn by `seed`, with the frequencies of the labels of `texts`, int32
    [N], as probabilities, float32 [count, C]. Letters are those of its words."""
    random = np.random.default_rng((seed, count, len(texts)))
    words = Counter(chain(*texts.tokens))
    invented = _Invented(words, random)
    common = [word for word, _ in words.most_common(COMMON)]
    makers = (
        lambda: str(random.choice(MARKS)),
        lambda: str(random.integers(10 ** random.integers(1, 5))),
        invented.word,
        lambda: random.choice(common) if random.random() < COMMON_SHARE else invented.word(),
    )
    kinds = random.choice(len(makers), size=count, p=(0.2, 0.1, 0.35, 0.35))
    longest = random.integers(1, 1 + LONGEST, size=count)  # short ones are the hardest
    lengths = random.integers(1, 1 + longest)
    tokens = [
        [str(makers[kind]()) for _ in range(length)]
        for kind, length in zip(kinds, lengths, strict=True)
    ]
    shares = np.bincount(texts.labels, minlength=num_classes) / len(texts)
    labels = np.tile(shares.astype(np.float32), (count, 1))
    return LabelledTexts([" ".join(words) for words in tokens], tokens, labels)


class _Invented:
    """Words of letters that are drawn as they occur in known ones, and of their lengths."""

    def __init__(self, words: Counter, random: np.random.Generator):
        self._known, self._random = words, random
        self._letters = np.array([*"".join(words)])
        self._lengths = np.array([len(word) for word in words])

    def word(self) -> str:
        """None of the known ones, unless nearly all words of its length are known."""
        for _ in range(10):
            length = self._random.choice(self._lengths)
            found = "".join(self._random.choice(self._letters, length))
            if found not in self._known:
                break
        return found
