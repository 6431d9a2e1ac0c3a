"""Longer texts made of labelled phrases, by two rules of English that decide their label.

    contrast   "slow and dull" (0), "a fine cast" (1)  ->  "slow and dull , but a fine cast" (1)
    negation   "dull" (0)                              ->  "never dull" (1)

A corpus of labelled phrases shows how phrases are rated; how ratings combine is visible only
in its few whole sentences. Composing labelled parts by a known rule is data augmentation
in the manner of Andreas (2020, "Good-Enough Compositional Data Augmentation").
"""

import numpy as np

from mocanet_jax.tasks.text.labelled import LabelledTexts

CONTRASTS = (
    "{} , but {}",
    "{} but {}",
    "{} , yet {}",
    "although {} , {}",
    "though {} , {}",
    "while {} , {}",
    "despite {} , {}",
    "even though {} , {}",
    "{} . still , {}",
    "{} ; {} overall",
    "{} , {} all the same",
    "{} , and overall {}",
    "{} . the rest is {}",
)
"""Frames of two phrases of opposite labels, of which the second decides."""

NEGATIONS = (
    "not {}",
    "is not {}",
    "it 's not {}",
    "is n't {}",
    "was n't {}",
    "are n't {}",
    "never {}",
    "is never {}",
    "not {} at all",
    "nothing {} about it",
    "there 's nothing {} here",
    "anything but {}",
    "hardly {}",
    "without being {}",
    "it 's not {} and not {}",
)
"""Frames that turn the label of the short phrases in them."""

CLAUSE_LENGTHS = range(2, 13)
PREDICATE_LENGTHS = range(1, 3)
"""Tokens of phrases that are contrasted and negated; what longer phrases negate is open."""


def composed(texts: LabelledTexts, contrasts: int, negations: int, seed: int) -> LabelledTexts:
    """New texts from those of two classes, labels even on average, drawn by `seed`. A rule for
    which there are no phrases of both labels adds nothing."""
    random = np.random.default_rng((seed, contrasts, negations))
    clauses, predicates = (_by_label(texts, n) for n in (CLAUSE_LENGTHS, PREDICATE_LENGTHS))
    rows = []
    if all(map(len, clauses)):
        for label, frame in _drawn(random, CONTRASTS, contrasts):
            parts = random.choice(clauses[1 - label]), random.choice(clauses[label])
            rows.append((frame.format(*parts), label))
    if all(map(len, predicates)):
        for label, frame in _drawn(random, NEGATIONS, negations):
            rows.append((frame.format(*random.choice(predicates[1 - label], 2)), label))
    return LabelledTexts(
        [text for text, _ in rows],
        [text.split(" ") for text, _ in rows],
        np.array([label for _, label in rows], np.int32),
    )


def _by_label(texts, lengths):
    """Phrases of these lengths, tokens joined by spaces: an array for each label."""
    return [
        np.array(
            [
                " ".join(words)
                for words, own in zip(texts.tokens, texts.labels, strict=True)
                if own == label and len(words) in lengths
            ],
            dtype=object,  # one long word would make every text of a table of letters as long
        )
        for label in (0, 1)
    ]


def _drawn(random, frames, count):
    labels, chosen = random.integers(2, size=count), random.integers(len(frames), size=count)
    return zip(labels.tolist(), (frames[i] for i in chosen), strict=True)
