"""Classification of texts of one's own: any labels, two or many, by their names.

train.csv   text,label                 valid chooses the checkpoint and calibrates it;
            "it never boots",fault     test, where there is one, is only reported
            where is my order,delivery
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.text.labelled import LabelledTexts
from mocanet_jax.tasks.text.named import NAMED, named_rows
from mocanet_jax.tasks.text.own_files import (
    RECORDS,
    Form,
    Rows,
    ordered,
    read_rows,
    read_texts,
    split_files,
)
from mocanet_jax.tasks.text.task import TextTask

LONGEST = 256
"""Of lengths that are chosen by the training texts; longer texts are cut, in training only."""

QUANTILES = (0.5, 0.9, 0.99)
"""Shares of the training texts that fit into each of these lengths."""

MANY_LABELS = 20
"""From here on a column with more labels than half the texts is no column of labels."""

LISTED = 8
"""Labels or lines in a message."""


@dataclass(frozen=True)
class OwnTexts(TextTask):
    """A corpus of one's own.

    Attributes:
        path: folder with train and, where there are any, valid and test, as .csv, .tsv or
            .jsonl, also .gz or .xz, or one such file; or imdb_reviews, of TensorFlow Datasets
        text_column: name of the column of texts; empty for a usual one, as text or review
        label_column: name of the column of labels; empty for a usual one, as label or class
        encoding: of the files; empty for UTF-8, or what a byte order mark says
        valid_share: share of the training texts that are for validation where there is no
            file for it, drawn by a hash of the text
        buckets: rising lengths that training texts are padded to; empty for some that fit them
        eval_file: file to evaluate on in place of valid and test; empty for none
        saved_classes, saved_columns: labels of an earlier run, and the names of its columns of
            texts and labels; None to take them from the training texts
    """

    text_column: str = ""
    label_column: str = ""
    encoding: str = ""
    valid_share: float = 0.1
    saved_classes: tuple[str, ...] | None = None
    saved_columns: tuple[str, str] | None = None

    def __post_init__(self):
        if not 0 < self.valid_share < 1:
            raise ValueError(f"valid_share is a share in (0, 1), not {self.valid_share}")
        super().__post_init__()

    @classmethod
    def settings_of(cls, record: dict) -> dict:
        settings = super().settings_of(record)
        if "classes" in record:
            settings |= {
                "saved_classes": tuple(record["classes"]),
                "saved_columns": tuple(record["columns"]),
                "buckets": tuple(record["buckets"]),
            }
        return settings

    def record(self) -> dict:
        """With the labels, the names of columns, and the lengths."""
        columns = self._rows["train"].columns
        own = {"classes": [*self.classes], "columns": [*columns], "buckets": [*self.buckets]}
        return super().record() | own | {"remarks": self.remarks()}

    def first_buckets(self) -> tuple[int, ...]:
        """Those of the config, or such that fit the training texts, which are read for it."""
        if self.buckets:
            return self.buckets
        lengths = [len(words) for words in self.train_texts.tokens]
        fitting = np.ceil(np.quantile(lengths, QUANTILES)).astype(int)
        return tuple(sorted({int(min(length, LONGEST)) for length in fitting}))

    @property
    def _form(self):
        return Form(self.text_column, self.label_column, self.encoding, self.saved_columns)

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        """Of every split; the columns of training are those of the others."""
        if self.path in NAMED:
            return named_rows(self.path)
        files = split_files(self.path)
        train = read_rows(files["train"], self._form)
        form = Form(*train.columns, self.encoding)
        others = {name: file for name, file in files.items() if name != "train"}
        return {"train": train} | {name: read_rows(f, form) for name, f in others.items()}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels. Raises UserError where training has fewer than two."""
        if self.saved_classes is not None:
            return self.saved_classes
        rows = self._rows["train"]
        names = ordered(set(rows.labels))
        if len(names) < 2:
            raise UserError(
                f"{rows.place}: all {len(rows.labels):,} texts have the label {names[0]!r}; a "
                "classifier takes two labels or more"
            )
        if len(names) > max(MANY_LABELS, len(rows.labels) / 2):
            raise UserError(
                f"{rows.place}: the column {rows.columns[1]!r} has {len(names):,} different "
                f"labels in {len(rows.labels):,} texts; --config.data.label_column=NAME names "
                "another"
            )
        return names

    def _labelled(self, rows: Rows) -> LabelledTexts:
        """Raises UserError for a label that training does not have."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        for line, label in zip(rows.lines, rows.labels, strict=True):
            if label not in numbers:
                of = "of the run" if self.saved_classes else "in training"
                raise UserError(
                    f"{rows.place}, line {line}: the label {label[:40]!r} is none of those "
                    f"{of}: {listed(self.classes)}"
                )
        labels = np.array([numbers[label] for label in rows.labels], np.int32)
        return LabelledTexts(rows.texts, rows.tokens, labels)

    @cached_property
    def _split(self) -> tuple[LabelledTexts, LabelledTexts]:
        texts = self._labelled(self._rows["train"])
        if "valid" in self._rows:
            return texts, self._labelled(self._rows["valid"])
        held = drawn(shares(texts), texts.labels, self.valid_share)
        if held is None:
            raise UserError(
                f"{self._rows['train'].place}: no text can be taken for validation without "
                "taking all of its label; add some, or a file valid.csv beside train.csv"
            )
        return texts.take(np.flatnonzero(~held)), texts.take(np.flatnonzero(held))

    def read_train(self) -> LabelledTexts:
        return self.train_texts

    def read_validation(self) -> LabelledTexts:
        return self.held_out_texts

    @cached_property
    def evaluation_texts(self) -> LabelledTexts:
        if self.eval_file:
            return self._labelled(read_rows(local_path(self.eval_file), self._form))
        return self.held_out_texts

    @cached_property
    def test_texts(self) -> LabelledTexts | None:
        if self.eval_file or "test" not in self._rows:
            return None
        return self._labelled(self._rows["test"])

    def texts_in(self, file: Path) -> list[str] | None:
        return read_texts(file, self._form) if RECORDS.fullmatch(file.name) else None

    def remarks(self) -> list[str]:
        """Sizes and labels, and warnings."""
        train, valid = self.train_texts, self.held_out_texts
        lines = [
            f"{rows.place}: texts in the column {rows.columns[0]!r}, labels in "
            f"{rows.columns[1]!r}"
            for rows in self._rows.values()
        ]
        drawn_of = "" if "valid" in self._rows else " (drawn from training by a hash)"
        test = self.test_texts
        lines.append(
            f"texts: {len(train):,} to train on, {len(valid):,} for validation{drawn_of}"
            + (f", {len(test):,} for the test" if test is not None else "")
        )
        counts = np.bincount(train.labels, minlength=len(self.classes))
        by_count = sorted(range(len(counts)), key=lambda i: -counts[i])
        shown = [f"{self.classes[i]} {counts[i] / len(train):.1%}" for i in by_count]
        lines.append(f"{len(counts)} labels in training: {listed(shown)}")
        return lines + [f"warning: {line}" for line in self._warnings(counts)]

    def _warnings(self, counts):
        for rows in self._rows.values():
            if rows.empty:
                lines = listed(map(str, rows.empty))
                yield f"{rows.place}: texts without a word are left out, line {lines}"
        if single := [self.classes[i] for i in np.flatnonzero(counts <= 1)]:
            yield f"labels with one training text, which is hardly learned: {listed(single)}"
        known = {" ".join(words) for words in self.train_texts.tokens}
        others = {"validation": self.held_out_texts, "test": self.test_texts}
        for name, texts in others.items():
            seen = sum(" ".join(words) in known for words in texts.tokens) if texts else 0
            if seen:
                yield f"{seen:,} of {len(texts):,} {name} texts are in training, too"


def listed(names) -> str:
    """The first few, what is unprintable escaped, and how many more there are."""
    names = [name if name.isprintable() else ascii(name)[1:-1] for name in names]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def shares(texts: LabelledTexts) -> np.ndarray:
    """Of each text a number in [0, 1) that depends on its tokens alone: float64 [N]."""
    hashes = (
        hashlib.sha256(" ".join(t).encode("utf-8", "surrogatepass")) for t in texts.tokens
    )
    return np.array([int.from_bytes(h.digest()[:6], "big") / 2**48 for h in hashes])


def drawn(hashes: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray | None:
    """bool [N], which texts are for validation: those of a hash below `share`. Equal texts have
    equal hashes, and are on one side.

    Texts without which training would lose a label stay there; where that leaves none, those of
    the lowest hash are drawn that can be. None where there are none.
    """
    held = hashes < share
    lost = ~np.isin(labels, labels[~held])
    held &= ~np.isin(hashes, hashes[held & lost])
    if held.any():
        return held
    for lowest in np.unique(hashes):
        held = hashes == lowest
        if np.isin(labels[held], labels[~held]).all():
            return held
    return None
