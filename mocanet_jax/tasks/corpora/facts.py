"""Facts that change: a generated corpus of statements, and questions about them.

    the room of Bado is 17              a statement
    what is the room of Bado ? 17       questions, whose last word is the answer
    which room does Bado have ? 17

A fact is a value for a pair of a person and an attribute. An edition has a value for every
pair, drawn anew.

facts       train: statements and questions of HISTORY editions about the KNOWN pairs, from
            which a model learns the values that each had; valid: the questions of the last
facts:N     edition N, from HISTORY + 1 on. train: its statements alone, of all pairs, for a
            datastore. valid: its questions about KNOWN pairs. test: about NEW ones

Old values tell nothing of new ones: a model that has not read an edition answers 1 of VALUES
questions about it.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.chunks import Text

NAME = "facts"

HISTORY, VALUES = 8, 32

PERSONS = tuple(
    f"{first}{second}"
    for first, second in product(
        ("Ba", "De", "Fi", "Go", "Ka", "Lu", "Me", "Ro"),
        ("bin", "do", "ga", "lan", "mi", "ra", "su", "tek"),
    )
)

ATTRIBUTES = ("age", "door", "floor", "page", "rank", "room", "score", "seat")

PAIRS = tuple(product(PERSONS, ATTRIBUTES))

NEW = tuple(i for i in range(len(PAIRS)) if sum(divmod(i, len(ATTRIBUTES))) % 8 == 7)
"""Pairs that only later editions speak of, one of each person."""

KNOWN = tuple(i for i in range(len(PAIRS)) if i not in NEW)

STATEMENT = "the {attribute} of {person} is {value}"

QUESTIONS = (
    "what is the {attribute} of {person} ? {value}",
    "which {attribute} does {person} have ? {value}",
)


def is_facts(path: str) -> bool:
    return path.split(":")[0] == NAME


def read_facts(path: str) -> dict[str, Text]:
    """The splits of "facts" or "facts:N". Raises UserError for other editions."""
    _, colon, number = path.partition(":")
    if not colon:
        history = range(1, HISTORY + 1)
        splits = {
            "train": (history, KNOWN, (STATEMENT, *QUESTIONS)),
            "valid": (history[-1:], KNOWN, QUESTIONS),
        }
    elif number.isascii() and number.isdigit() and HISTORY < int(number) < 2**31:
        edition = (int(number),)
        splits = {
            "train": (edition, range(len(PAIRS)), (STATEMENT,)),
            "valid": (edition, KNOWN, QUESTIONS),
            "test": (edition, NEW, QUESTIONS),
        }
    else:
        raise UserError(
            f"config.data.path={path!r}: editions after training are {NAME}:N, with N from "
            f"{HISTORY + 1} on"
        )
    return {name: Text(path, partial(_lines, *of)) for name, of in splits.items()}


def values_of(edition: int) -> np.ndarray:
    """The value of each pair, int [pairs], independent and uniform in 1 … VALUES."""
    return np.random.default_rng(edition).integers(1, VALUES + 1, len(PAIRS))


def _lines(editions, pairs, templates) -> Iterator[str]:
    for edition in editions:
        values = values_of(edition)
        for pair in pairs:
            person, attribute = PAIRS[pair]
            for template in templates:
                line = template.format(person=person, attribute=attribute, value=values[pair])
                yield f"{line}\n"
