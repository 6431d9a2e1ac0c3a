"""Labelled corpora of TensorFlow Datasets, by their names.

imdb_reviews    25,000 film reviews to train on and as many to test on, positive or negative
                (Maas et al., 2011)
"""

from mocanet_jax.tasks.corpora.named import NAMED as CORPORA
from mocanet_jax.tasks.text.own_files import LAYOUT, Rows
from mocanet_jax.tasks.text.tokenizer import tokenize
from mocanet_jax.tasks.tfds import Dataset

NAMED = {
    name: Dataset(
        name, name, CORPORA[name].url, f"--config.data.path=DIR, a folder with {LAYOUT}"
    )
    for name in ("imdb_reviews",)
}

COLUMNS = ("text", "label")


def named_rows(name: str) -> dict[str, Rows]:
    """Of the splits "train" and "test" of NAMED[name]; what is a line in a file is a row here.
    Raises UserError where the data cannot be had."""
    dataset = NAMED[name]
    labels = dataset.prepared().info.features[COLUMNS[1]].names
    return {split: _rows(dataset, split, labels) for split in ("train", "test")}


def _rows(dataset, split, names):
    rows = Rows(f"{dataset.name}, {split}", COLUMNS, [], [], [], [], [])
    for number, row in enumerate(dataset.rows(split), start=1):
        text = row[COLUMNS[0]].decode()
        words = tokenize(text)
        if not words:
            rows.empty.append(number)
            continue
        parts = (number, text, words, names[int(row[COLUMNS[1]])])
        for part, value in zip(rows[2:6], parts, strict=True):
            part.append(value)
    return rows
