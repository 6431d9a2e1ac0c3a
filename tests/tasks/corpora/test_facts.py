"""Facts that change: what an edition says, and what training cannot know of it."""

import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.facts import HISTORY, VALUES, values_of
from mocanet_jax.tasks.corpora.files import Shares, read_corpus

SHARES = Shares(valid=0.1, test=0.0)
FORMS = {"the": (1, 3), "what": (3, 5), "which": (1, 3)}
"""Where a line that begins with a word has its attribute and its person."""


def facts(path, split):
    """(attribute, person) → the values that a split says of it."""
    found = {}
    for line in "".join(read_corpus(path, SHARES, "lines")[split]).splitlines():
        words = line.split()
        pair = tuple(words[place] for place in FORMS[words[0]])
        found.setdefault(pair, []).append(words[-1])
    return found


def test_a_datastore_is_told_every_fact_once_and_no_question():
    text = "".join(read_corpus("facts:9", SHARES, "lines")["train"])
    assert len(facts("facts:9", "train")) == len(text.splitlines()) == 512
    assert "?" not in text


def test_questions_are_about_the_facts_of_their_edition():
    """Each in two forms, with the value that the statement has."""
    said = facts("facts:9", "train")
    for split, count in {"valid": 448, "test": 64}.items():
        asked = facts("facts:9", split)
        assert len(asked) == count
        assert all(values == said[pair] * 2 for pair, values in asked.items())


def test_training_knows_nothing_of_new_pairs_and_old_values_of_the_others():
    """Else an answer could be known without reading the edition; every word of it is known."""
    training = facts("facts", "train")
    assert training.keys() == facts("facts:9", "valid").keys()
    assert not training.keys() & facts("facts:9", "test").keys()
    assert all(len(values) == 3 * HISTORY for values in training.values())
    known = {word for pair in training for word in pair}
    assert known == {word for pair in facts("facts:9", "test") for word in pair}


def test_an_edition_tells_nothing_of_another():
    """Of 512 pairs 16 agree by chance; 3 standard deviations are 12. The same edition is the
    same text always."""
    for later in range(HISTORY + 1, HISTORY + 9):
        agreeing = [np.sum(values_of(later) == values_of(e)) for e in range(1, later)]
        assert abs(np.mean(agreeing) - 512 / VALUES) < 12
        assert max(agreeing) < 40
    assert facts("facts:9", "train") == facts("facts:9", "train") != facts("facts:10", "train")
    assert set(values_of(9)) == set(range(1, VALUES + 1))


@pytest.mark.parametrize("number", ["8", "0", "", "-9", "new", "9:9"])
def test_other_editions_are_refused(number):
    with pytest.raises(UserError, match="are facts:N, with N from 9 on"):
        read_corpus(f"facts:{number}", SHARES, "lines")
