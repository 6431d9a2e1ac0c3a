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


class Wanted(NamedTuple):
    """text, label: names of the two columns, empty to look for those of training, and for usual
    ones. trained: the names in training, None where they are not known."""

    text: str
    label: str
    trained: tuple[str, str] | None


class Columns(NamedTuple):
    """Their places among the columns of a file."""

    text: int
    label: int


def found(names: Sequence[str], wanted: Wanted) -> Columns:
    """names: of all columns. Of two columns of which one is found the other is the other.

    Raises ValueError in one line with the columns that there are.
    """
    text = _place(names, "text", wanted.text, _usual(wanted, 0))
    label = _place(names, "label", wanted.label, _usual(wanted, 1))
    if len(names) == 2 and (text is None) != (label is None):
        text, label = (1 - label, label) if text is None else (text, 1 - text)
    for kind, place in (("text", text), ("label", label)):
        if place is None:
            raise ValueError(
                f"which column is the {kind}? The columns are {_listed(names)}; pass "
                f"--config.data.{kind}_column=NAME"
            )
    if text == label:
        raise ValueError(f"the column {names[text]!r} cannot be both text and label")
    return Columns(text, label)


def text_column(names: Sequence[str], wanted: Wanted) -> int:
    """The place of the texts in a file that need not have labels. Raises ValueError."""
    place = _place(names, "text", wanted.text, _usual(wanted, 0))
    if place is None and len(names) > 1:
        own = f", and in training it was {wanted.trained[0]!r}" if wanted.trained else ""
        raise ValueError(f"which column is the text? The columns are {_listed(names)}{own}")
    return place or 0


def _usual(wanted, kind):
    trained = wanted.trained[kind : kind + 1] if wanted.trained else ()
    return (*(name.lower() for name in trained), *(TEXT_NAMES, LABEL_NAMES)[kind])


def _place(names, kind, wanted, usual):
    """None where no column has a usual name."""
    small = [name.strip().lower() for name in names]
    if not wanted:
        name = next((name for name in usual if name in small), None)
        return None if name is None else _place_of(small, name)
    if wanted in names:
        return _place_of(names, wanted)
    if wanted.strip().lower() in small:
        return _place_of(small, wanted.strip().lower())
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"there is no column {wanted!r}, the {kind}; the columns are {_listed(names)}{hint}"
    )


def _place_of(names, name):
    if names.count(name) > 1:
        raise ValueError(f"the column {name!r} is there more than once")
    return names.index(name)


def _listed(names):
    shown = ", ".join(repr(name[:40]) for name in names[:LISTED])
    return shown + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
