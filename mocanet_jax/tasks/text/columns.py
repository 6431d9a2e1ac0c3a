"""Which columns of a file hold the texts and the labels."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

TEXT_NAMES = (
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "tweet",
    "message",
    "body",
    "utterance",
    "question",
    "document",
    "description",
)
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "target",
    "topic",
    "intent",
    "emotion",
    "rating",
    "stars",
)
"""Usual names in small letters; the first that a file has is taken."""

LISTED = 12
"""Columns in a message."""


class Columns(NamedTuple):
    """Their places among the columns of a file; label: None where labels are not looked for."""

    text: int
    label: int | None


def found(names: Sequence[str], text: str, label: str | None) -> Columns:
    """names: of all columns. text, label: the names of the two, empty to look for usual ones;
    of two columns the one that has none is the other. label: None for a file of texts alone.

    Raises ValueError in one line with the columns that there are.
    """
    text_place = _place(names, "text", text, TEXT_NAMES)
    if label is None:
        if text_place is None:
            text_place = 0 if len(names) == 1 else _missing(names, "text")
        return Columns(text_place, None)
    label_place = _place(names, "label", label, LABEL_NAMES)
    if len(names) == 2 and (text_place is None) != (label_place is None):
        text_place = 1 - label_place if text_place is None else text_place
        label_place = 1 - text_place if label_place is None else label_place
    if text_place is None:
        _missing(names, "text")
    if label_place is None:
        _missing(names, "label")
    if text_place == label_place:
        raise ValueError(f"the column {names[text_place]!r} cannot be both text and label")
    return Columns(text_place, label_place)


def _place(names, kind, wanted, usual):
    """None where no column has a usual name."""
    small = [name.strip().lower() for name in names]
    if not wanted:
        return next((small.index(name) for name in usual if name in small), None)
    if wanted in names:
        return names.index(wanted)
    if wanted.strip().lower() in small:
        return small.index(wanted.strip().lower())
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"there is no column {wanted!r}, the {kind}; the columns are {_listed(names)}{hint}"
    )


def _missing(names, kind):
    raise ValueError(
        f"which column is the {kind}? The columns are {_listed(names)}; pass "
        f"--config.data.{kind}_column=NAME"
    )


def _listed(names):
    shown = ", ".join(repr(name[:40]) for name in names[:LISTED])
    return shown + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
