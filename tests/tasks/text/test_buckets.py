"""Buckets: where a text is, what its row holds, and which texts a step trains on.

Axes: B batch, T time, N texts.
"""

from itertools import chain, pairwise

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.tasks.text.buckets import bucketed, select
from mocanet_jax.tasks.text.vocabulary import Vocabulary
from tests.tasks.text.small_corpus import of_tokens

VOCABULARY = Vocabulary(("dull", "warm", "film"), 1000, 4)
LENGTHS = (2, 5, 6)
TEXTS = [
    ["dull"],
    ["a", "warm", "and", "witty", "film"],
    ["warm", "film"],
    ["so", "very", "very", "very", "very", "dull"],
    ["a", "warm", "film"],
    ["film", "after", "film", "after", "film", "after", "film"],
]
PLACES = {2: [0, 2], 5: [1, 4], 6: [3, 5]}


def check(texts, lengths, places):
    """Compares what `bucketed` gives with texts padded one by one. places: T → rows."""
    corpus = of_tokens(texts)
    data = jax.device_get(bucketed(corpus, lengths, VOCABULARY))
    assert [bucket.words.shape for bucket in data.buckets] == [
        (len(rows), length) for length, rows in places.items()
    ]
    for bucket, (length, rows) in zip(data.buckets, places.items(), strict=True):
        assert bucket.words.dtype == bucket.labels.dtype == np.int32
        for words, label in zip(bucket.words, bucket.labels, strict=True):
            assert label in rows
            tokens = texts[label][:length]
            np.testing.assert_array_equal(words > 0, np.arange(length) < len(tokens))
            encoded = data.table[words[: len(tokens)]]
            np.testing.assert_array_equal(encoded, VOCABULARY.encode(tokens))
        assert len(set(bucket.labels.tolist())) == len(rows)
    return data


def test_a_text_is_in_the_shortest_bucket_that_holds_it():
    """Otherwise words are lost, or padding costs time; and each text keeps its label, which is
    its number here. Seven words are cut to the last bucket's six."""
    data = check(TEXTS, LENGTHS, PLACES)
    assert len(data.table) == 1 + len({token for text in TEXTS for token in text})


def test_padding_has_a_row_of_zeros():
    """Padding that looked up a word's row would differ from the padding of evaluation."""
    table = jax.device_get(bucketed(of_tokens(TEXTS), LENGTHS, VOCABULARY)).table
    assert not table[0].any()
    assert (table[1:, 0] > 0).all()


@pytest.mark.parametrize(
    ("lengths", "places"),
    [
        ((9,), {9: [0, 1, 2, 3, 4, 5]}),
        ((1,), {1: [0, 1, 2, 3, 4, 5]}),
        ((1, 4, 50), {1: [0], 4: [2, 4], 50: [1, 3, 5]}),
        ((7, 8, 9), {7: [0, 1, 2, 3, 4, 5]}),
        ((1, 2, 3, 4, 7), {1: [0], 2: [2], 3: [4], 7: [1, 3, 5]}),
    ],
)
def test_a_bucket_without_texts_is_left_out(lengths, places):
    """A step would have to draw from nothing."""
    check(TEXTS, lengths, places)


SIZES = (7, 1, 12, 4)
B = 4
STEPS = 2 + 1 + 3 + 1
"""Of an epoch: 7, 1, 12 and 4 texts in batches of 4."""


def flat(selection):
    """[(bucket, rows), …], one for each step."""
    return list(zip(selection.bucket.tolist(), selection.rows.tolist(), strict=True))


def epoch(number, sizes=SIZES, batch=B, seed=0):
    steps = sum(-(-size // batch) for size in sizes)
    return flat(select(sizes, batch, seed, number * steps, steps))


@given(st.lists(st.integers(1, 3 * STEPS), min_size=1, max_size=6), st.integers(0, 50))
def test_steps_are_the_same_in_any_number_of_parts(parts, start):
    """A resumed run, or one with other chunks between logs, would train on other texts."""
    bounds = np.cumsum([start, *parts]).tolist()
    whole = flat(select(SIZES, B, 3, start, bounds[-1] - start))
    pieces = [flat(select(SIZES, B, 3, a, b - a)) for a, b in pairwise(bounds)]
    assert list(chain(*pieces)) == whole
    for step in (start, bounds[-1] - 1, start + len(whole) // 2):
        assert flat(select(SIZES, B, 3, step, 1)) == [whole[step - start]]


@pytest.mark.parametrize(
    ("sizes", "batch"), [(SIZES, B), ((1,), 1), ((5, 5), 1), ((3, 9), 10), ((2, 3), 64)]
)
def test_an_epoch_meets_every_text(sizes, batch):
    """Otherwise some texts are never trained on, or some twice as often as others."""
    for number in range(3):
        steps = epoch(number, sizes, batch)
        for bucket, size in enumerate(sizes):
            batches = [rows for which, rows in steps if which == bucket]
            assert len(batches) == -(-size // batch)
            counts = np.bincount(np.ravel(batches), minlength=size)
            assert len(counts) == size
            # The fill-up of the last batch is spread evenly, too.
            assert counts.min() == len(batches) * batch // size
            assert counts.max() == -(-len(batches) * batch // size)
            if size >= batch:
                assert all(len(set(rows)) == batch for rows in batches)


def test_orders_differ_between_epochs_and_between_seeds():
    """Otherwise the same texts always share a batch, or seeds measure no variation."""
    epochs = [epoch(0), epoch(1), epoch(2), epoch(0, seed=1), epoch(1, seed=1)]
    for i, one in enumerate(epochs):
        for other in epochs[:i]:
            assert one != other
            assert batches_of(one) != batches_of(other)


def batches_of(steps):
    """Which texts of the largest bucket share a batch."""
    return {frozenset(rows) for bucket, rows in steps if bucket == 2}


def test_buckets_are_met_in_a_mixed_order():
    """A model that sees short texts only, then long ones only, forgets."""
    orders = {tuple(bucket for bucket, _ in epoch(number)) for number in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == [0, 0, 1, 2, 2, 2, 3] for order in orders)


def test_a_selection_has_a_row_of_texts_for_each_step():
    """The training loop scans over the first axis, on the device."""
    selection = select(SIZES, B, 0, 5, 9)
    assert selection.bucket.shape == (9,)
    assert selection.rows.shape == (9, B)
    assert selection.bucket.dtype == selection.rows.dtype == np.int32
