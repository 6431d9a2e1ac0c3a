"""SST-2: is a sentence of a film review positive (1) or negative (0)?

    positive   "that loves its characters and communicates something rather beautiful"
    negative   "contains no wit , only labored gags"

The Stanford Sentiment Treebank (Socher et al., 2013) with two classes, as GLUE has it: 67,349
training texts, most of them phrases of some 6,900 sentences, and 872 validation sentences.
GLUE keeps the labels of its test sentences to itself.
"""

from dataclasses import dataclass
from typing import ClassVar

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.text.composition import composed
from mocanet_jax.tasks.text.labelled import LabelledTexts, labelled_texts, read_tsv
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.tasks.tfds import Dataset

TFDS = Dataset(
    name="glue/sst2",
    title="SST-2",
    url="https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
    instead="--config.data.path=DIR, a folder with GLUE's train.tsv and dev.tsv",
    module="tensorflow_datasets.text.glue",
)


@dataclass(frozen=True)
class Sst2Task(TextTask):
    """Phrases and sentences of film reviews.

    Attributes:
        path: folder with train.tsv and dev.tsv of GLUE; empty for TensorFlow Datasets
        contrasts, negations: number of training texts composed of phrases of the corpus by
            this rule (composition.py), besides the corpus
    """

    contrasts: int = 0
    negations: int = 0

    classes: ClassVar[tuple[str, ...]] = ("negative", "positive")

    answer_name: ClassVar[str] = "sentiment"

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
    file = local_path(path) / {"train": "train.tsv", "validation": "dev.tsv"}[split]
    if not file.is_file():
        raise UserError(
            f"{path}: there is no {file.name}; --config.data.path takes a folder with GLUE's "
            "train.tsv and dev.tsv"
        )
    return read_tsv(file, len(Sst2Task.classes))


def _from_tfds(split):
    texts, labels = zip(
        *((row["sentence"].decode(), int(row["label"])) for row in TFDS.rows(split)),
        strict=True,
    )
    return labelled_texts(list(texts), list(labels))
