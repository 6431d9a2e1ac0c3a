"""A labelled corpus in a few lines of text."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mocanet_jax.report.answers import NAME_WIDTH, shown
from mocanet_jax.tasks.text.labelled import LabelledTexts

LISTED_CLASSES, SHOWN_TEXT = 20, 300


def describe(train: LabelledTexts, validation: LabelledTexts, classes: Sequence[str]) -> str:
    """Sizes, label balance, lengths, unknown words and sample rows, as lines of text."""
    known = Counter(token for text in train.tokens for token in text)
    lines = []
    for name, split in (("train", train), ("validation", validation)):
        lengths = np.array([len(tokens) for tokens in split.tokens])
        middle, high = np.percentile(lengths, (50, 95)).astype(int)
        lines += [
            f"{name}: {len(split):,} texts, {lengths.sum():,} tokens",
            "  " + _shares(split.labels, classes),
            f"  tokens per text: mean {lengths.mean():.1f}, median {middle}, "
            f"95 % up to {high}, longest {lengths.max()}",
        ]
    unseen = sum(token not in known for text in validation.tokens for token in text)
    total = sum(len(text) for text in validation.tokens)
    once = sum(count == 1 for count in known.values())
    lines += [
        f"words: {len(known):,} in train, {once:,} of them once",
        f"  unknown in validation: {unseen / total:.2%} of tokens",
        "samples:",
    ]
    for split in (train, validation):
        for row in np.linspace(0, len(split) - 1, 5).astype(int):
            label = shown(classes[split.labels[row]], NAME_WIDTH)
            lines.append(f"  {label:8}  {shown(' '.join(split.tokens[row]), SHOWN_TEXT)}")
    return "\n".join(lines)


def _shares(labels, classes):
    """Of the commonest classes where there are many."""
    counts = np.bincount(labels, minlength=len(classes)) / len(labels)
    chosen = np.argsort(-counts, kind="stable")[:LISTED_CLASSES]
    more = len(classes) - len(chosen)
    listed = ", ".join(
        f"{shown(classes[i], NAME_WIDTH)}: {counts[i]:.1%}" for i in sorted(chosen)
    )
    return listed + (f", {more} more: {1 - counts[chosen].sum():.1%}" if more else "")
