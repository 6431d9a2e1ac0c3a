"""SST-2: is a sentence of a film review positive (1) or negative (0)?

    positive   "that loves its characters and communicates something rather beautiful"
    negative   "contains no wit , only labored gags"

The Stanford Sentiment Treebank (Socher et al., 2013) with two classes, as GLUE has it: 67,349
training texts, most of them phrases of some 6,900 sentences, and 872 validation sentences.
GLUE keeps the labels of its test sentences to itself.

    python -m mocanet_jax.tasks.sst2 --inspect [--path=DIR]        looks at the data
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from absl import flags

from mocanet_jax import cli
from mocanet_jax.errors import UserError
from mocanet_jax.tasks.composition import composed
from mocanet_jax.tasks.labelled import LabelledTexts, labelled_texts, read_tsv
from mocanet_jax.tasks.text import TextTask

DOWNLOAD_TIMEOUT = 5.0
"""Seconds to wait for an answer from the place that TFDS would download from."""


@dataclass(frozen=True)
class Sst2Task(TextTask):
    """path: a folder with train.tsv and dev.tsv of GLUE; empty for TensorFlow Datasets.
    contrasts, negations: texts composed of training phrases by either rule (composition.py),
        to train on besides the corpus.
    """

    contrasts: int = 0
    negations: int = 0

    classes: ClassVar[tuple[str, ...]] = ("negative", "positive")

    def __post_init__(self):
        super().__post_init__()
        if min(self.contrasts, self.negations) < 0:
            raise ValueError(
                f"contrasts and negations must not be negative: {self.contrasts}, "
                f"{self.negations}"
            )

    def augmentation(self) -> LabelledTexts:
        return composed(self.train_texts, self.contrasts, self.negations, self.seed)

    def read_train(self) -> LabelledTexts:
        return read_sst2(self.path, "train")

    def read_validation(self) -> LabelledTexts:
        return read_sst2(self.path, "validation")


def read_sst2(path: str, split: str) -> LabelledTexts:
    """split: "train" or "validation". Raises UserError where the data is not to be had."""
    if not path:
        return _from_tfds(split)
    file = Path(path) / {"train": "train.tsv", "validation": "dev.tsv"}[split]
    if not file.is_file():
        raise UserError(
            f"{path}: there is no {file.name}; --config.data.path takes a folder with GLUE's "
            "train.tsv and dev.tsv"
        )
    return read_tsv(file, len(Sst2Task.classes))


def _from_tfds(split):
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.text import glue  # noqa: F401  registers the builder

    builder = tfds.builder("glue/sst2")
    if not builder.data_path.exists():
        try:
            requests.head(builder.builder_config.data_url, timeout=DOWNLOAD_TIMEOUT)
        except requests.RequestException as error:
            raise UserError(
                f"SST-2 is not in {builder.data_path} and cannot be downloaded now "
                f"({type(error).__name__}). Either run once with a network connection, so that "
                "TensorFlow Datasets fetches it, or pass --config.data.path=DIR, a folder with "
                "GLUE's train.tsv and dev.tsv"
            ) from error
        try:
            builder.download_and_prepare(file_format="array_record")
        except (tfds.download.DownloadError, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"SST-2 could not be downloaded: {reason}; pass --config.data.path=DIR, a "
                "folder with GLUE's train.tsv and dev.tsv"
            ) from error
    try:
        rows = builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise UserError(
            f"SST-2 in {builder.data_path} is in a form that takes TensorFlow to read; move "
            "that folder away to fetch it again, or pass --config.data.path=DIR, a folder "
            "with GLUE's train.tsv and dev.tsv"
        ) from error
    texts, labels = zip(
        *((row["sentence"].decode(), int(row["label"])) for row in rows), strict=True
    )
    return labelled_texts(list(texts), list(labels))


def inspect(train: LabelledTexts, validation: LabelledTexts) -> str:
    """Sizes, label balance, lengths, unknown words and sample rows, as lines of text."""
    known = Counter(token for text in train.tokens for token in text)
    lines = []
    for name, split in (("train", train), ("validation", validation)):
        lengths = np.array([len(tokens) for tokens in split.tokens])
        middle, high = np.percentile(lengths, (50, 95)).astype(int)
        lines += [
            f"{name}: {len(split):,} texts, {lengths.sum():,} tokens",
            f"  positive: {split.labels.mean():.1%}",
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
            label = Sst2Task.classes[split.labels[row]]
            lines.append(f"  {label:8}  {' '.join(split.tokens[row])}")
    return "\n".join(lines)


def main() -> None:
    if not flags.FLAGS.inspect:
        raise UserError("nothing to do: pass --inspect")
    path = flags.FLAGS.path
    print(inspect(read_sst2(path, "train"), read_sst2(path, "validation")))


if __name__ == "__main__":
    flags.DEFINE_bool("inspect", False, "Print what the data looks like.")
    flags.DEFINE_string("path", "", "Folder with GLUE's train.tsv and dev.tsv.")
    cli.run(main)
