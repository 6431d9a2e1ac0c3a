"""The vocabulary: which words get a number, which pieces a word has, and both as JSON."""

import json
import tracemalloc
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mocanet_jax.nn.models.words import NO_PIECE, UNKNOWN_WORD
from mocanet_jax.tasks.text.vocabulary import (
    FIRST_WORD,
    Vocabulary,
    build_vocabulary,
    vocabulary_of,
)
from tests.tasks.text.small_corpus import small_task

WORDS = ("dull", "café", "👎", '"', "\\", "``", "n't", "a\u2028b", "")
PIECES, M = 1000, 12
VOCABULARY = Vocabulary(WORDS, PIECES, M)
ANY_TEXT = st.text(st.characters())  # lone surrogates too


def hashed(*grams):
    return [1 + zlib.crc32(gram.encode()) % (PIECES - 1) for gram in grams]


DULL = ("<du", "dul", "ull", "ll>", "<dul", "dull", "ull>", "<dull", "dull>")


def test_pieces_are_the_hashed_runs_of_three_to_five_letters():
    """Otherwise a word unknown to training shares no pieces with its relatives."""
    assert VOCABULARY.pieces("dull") == hashed(*DULL)
    assert VOCABULARY.pieces("a") == hashed("<a>")
    assert VOCABULARY.pieces("né") == hashed("<né", "né>", "<né>")
    assert VOCABULARY.pieces("") == []


def test_the_hash_stays_the_same():
    """A saved model's table of pieces would be read in another order."""
    assert Vocabulary((), 2**32, M).pieces("a") == [1 + 1874297515 % (2**32 - 1)]
    assert VOCABULARY.pieces("dull")[:4] == [598, 309, 785, 986]


def test_a_piece_that_occurs_twice_counts_once():
    """Otherwise a word of one letter again and again is mostly that piece."""
    assert VOCABULARY.pieces("aaaa") == hashed(
        "<aa", "aaa", "aa>", "<aaa", "aaaa", "aaa>", "<aaaa", "aaaa>"
    )


@pytest.mark.parametrize("limit", range(12))
def test_the_first_pieces_are_kept(limit):
    """Otherwise a word has another set of pieces, or more than the model has room for."""
    assert Vocabulary((), PIECES, limit).pieces("dull") == hashed(*DULL)[:limit]


def test_a_word_is_its_number_and_its_pieces():
    """Otherwise rows of the word table are confused, with padding or with unknown words."""
    rows = VOCABULARY.encode(["dull", "wit", "café"])
    assert rows.dtype == np.int32
    assert rows.shape == (3, 1 + M)
    assert rows[:, 0].tolist() == [FIRST_WORD, UNKNOWN_WORD, FIRST_WORD + 1]
    for row, word in zip(rows, ("dull", "wit", "café"), strict=True):
        pieces = VOCABULARY.pieces(word)
        assert pieces
        assert row[1:].tolist() == pieces + [NO_PIECE] * (M - len(pieces))
    assert VOCABULARY.encode([]).shape == (0, 1 + M)


def test_numbers_fill_the_word_table():
    """A number beyond the table would silently be clipped to its last row."""
    numbers = VOCABULARY.encode(WORDS)[:, 0].tolist()
    assert sorted({0, UNKNOWN_WORD, *numbers}) == list(range(len(VOCABULARY)))
    assert all(word in VOCABULARY for word in WORDS)
    assert "wit" not in VOCABULARY


@given(ANY_TEXT, st.integers(0, 30), st.integers(2, 50))
@example("\ud800", 4, 2)
@example("a\udfff\x00\U0010ffff", 30, 2)
def test_any_token_can_be_encoded(token, limit, pieces):
    """Otherwise what somebody types ends a chat with an error, or reads beyond the table."""
    (row,) = Vocabulary((), pieces, limit).encode([token])
    assert row[0] == UNKNOWN_WORD
    count = np.count_nonzero(row[1:])
    runs = ngrams(token)
    assert count <= min(limit, len(set(runs)))
    if len(set(runs)) == len(runs):
        assert count == min(limit, len(runs))
    assert (row[1 : 1 + count] > 0).all()
    assert (row[1:] < pieces).all()
    assert row[1 : 1 + count].tolist() == Vocabulary((), pieces, limit).pieces(token)


def ngrams(token):
    marked = f"<{token}>"
    spans = ((i, i + n) for n in (3, 4, 5) for i in range(len(marked) - n + 1))
    return [marked[start:stop] for start, stop in spans]


def test_a_very_long_token_takes_no_more_room_than_its_text():
    """A million letters without a space would otherwise become three million pieces."""
    letters = np.random.default_rng(0).integers(97, 123, 10**6, np.uint8)
    token = letters.tobytes().decode()
    tracemalloc.start()
    try:
        row = VOCABULARY.encode([token])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(token)
    assert np.count_nonzero(row) == 1 + M


TEXTS = [["b", "a", "b"], ["c", "d", "a"], ["d", "d", "e"]]


@pytest.mark.parametrize(
    ("min_freq", "max_size", "words"),
    [
        (1, 100, "dbace"),  # b and a twice, c and e once, each as met first
        (2, 100, "dba"),
        (3, 100, "d"),
        (4, 100, ""),
        (1, 2, "db"),
        (1, 4, "dbac"),
        (2, 1, "d"),
    ],
)
def test_the_most_frequent_words_get_numbers(min_freq, max_size, words):
    """Otherwise rare words push out frequent ones, or a run cannot be repeated."""
    built = build_vocabulary(iter(TEXTS), min_freq, max_size, PIECES, M)
    assert built == Vocabulary(tuple(words), PIECES, M)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"))), st.integers(1, 4), st.integers(1, 9))
def test_words_are_those_of_a_full_sort(texts, min_freq, max_size):
    """Picking the top of the counts by any shortcut must not change which words are known."""
    met = list(dict.fromkeys(word for text in texts for word in text))
    counts = Counter(word for text in texts for word in text)
    ranked = sorted(met, key=lambda word: -counts[word])[:max_size]
    expected = tuple(word for word in ranked if counts[word] >= min_freq)
    assert build_vocabulary(texts, min_freq, max_size, PIECES, M).words == expected


@pytest.mark.parametrize(("pieces", "limit"), [(1, 3), (0, 0), (10, -1)])
def test_impossible_sizes_are_refused(pieces, limit):
    """With one bucket of pieces none is left besides "no piece": a division by zero."""
    with pytest.raises(ValueError, match="num_pieces must be at least 2 and max_pieces"):
        Vocabulary((), pieces, limit)


def test_what_checkpoints_keep_gives_the_same_vocabulary():
    """Otherwise a trained model reads other words than it was trained on."""
    loaded = vocabulary_of(json.loads(json.dumps(VOCABULARY.fields())))
    assert loaded == VOCABULARY
    np.testing.assert_array_equal(loaded.encode(WORDS), VOCABULARY.encode(WORDS))


def test_words_of_a_run_that_it_starts_from_stay_known():
    """Otherwise what pretraining learned of them is lost where few texts follow; their numbers
    come after those of the texts' own words."""
    plain = small_task()
    task = small_task(known_words=("film", "exquisite", "dreary"))
    assert task.vocabulary.words == (*plain.vocabulary.words, "exquisite", "dreary")
