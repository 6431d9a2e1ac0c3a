"""Parallel streams: what each step reads, hand-made and as invariants."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.corpus import Tokens
from mocanet_jax.tasks.corpora.streams import Selection, gather, select, steps_per_epoch

BOUNDARY = 200


def stream(size):
    return Tokens(np.arange(size, dtype=np.int32), np.zeros(1, np.int64), size, size, size)


def documents(lengths):
    """Documents of so many tokens, all tokens different but for the boundary."""
    starts = np.cumsum([0, *lengths[:-1]]) + np.arange(len(lengths))
    ids = np.arange(sum(lengths) + len(lengths) + 1, dtype=np.int32) + 1000
    ids[[*starts, -1]] = BOUNDARY
    return Tokens(ids, starts, len(ids), len(ids), len(ids))


def epoch(tokens, batch, segment, seed=0, number=0):
    steps = steps_per_epoch(tokens, batch, segment)
    return select(tokens, batch, seed, segment, number * steps, steps)


def targets(selection):
    """How often each place of the array is a target."""
    places = Counter()
    for start, length in zip(selection.start.flat, selection.length.flat, strict=True):
        places.update(range(start + 1, start + length + 1))
    return places


LENGTHS = st.lists(st.integers(1, 12), min_size=2, max_size=12)


@given(LENGTHS, st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_every_token_of_every_document_is_a_target_once(lengths, batch, segment, seed):
    """Up to the remainder of fewer than B segments. Texts would be learned twice or never;
    a target must never lie in another document."""
    tokens = documents(lengths)
    segments = sum(-(-(length + 1) // segment) for length in lengths)
    if segments < batch:
        return
    chosen = epoch(tokens, batch, segment, seed)
    assert chosen.start.shape == (segments // batch, batch)
    found = targets(chosen)
    assert max(found.values()) == 1
    missing = len(tokens) - 1 - len(found)
    assert 0 <= missing <= (segments % batch) * segment
    for start, length in zip(chosen.start.flat, chosen.length.flat, strict=True):
        assert 1 <= length <= segment
        assert BOUNDARY not in tokens.ids[start + 1 : start + length]


@given(st.integers(20, 90), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_every_token_of_a_stream_is_a_target_once(size, batch, segment, seed):
    """Up to the random beginning and the remainder."""
    chosen = epoch(stream(size), batch, segment, seed)
    found = targets(chosen)
    assert max(found.values()) == 1
    assert max(found) < size
    assert size - 1 - len(found) < (batch + 1) * segment
    assert chosen.start[0, 0] < segment


@given(LENGTHS, st.integers(1, 3), st.integers(1, 5))
def test_streams_continue_until_they_are_reset(lengths, batch, segment):
    """The state of a document would be carried into another, or lost within one."""
    tokens = documents(lengths)
    if sum(-(-(length + 1) // segment) for length in lengths) < batch:
        return
    chosen = epoch(tokens, batch, segment)
    begins = np.isin(chosen.start, tokens.starts)
    ends = chosen.start + chosen.length
    assert chosen.reset[0].all()
    assert (chosen.reset[1:] == begins[1:]).all()
    going_on = ~chosen.reset[1:]
    assert (chosen.start[1:] == ends[:-1])[going_on].all()


def test_a_stream_by_hand():
    """13 tokens have 12 inputs, 4 segments of 3; two streams read two each, one after the
    other, from a beginning that is drawn."""
    starts = set()
    for seed in range(20):
        chosen = epoch(stream(13), 2, 3, seed)
        offset = chosen.start[0, 0]
        starts.add(int(offset))
        assert (chosen.start - offset).tolist() == [[0, 6], [3, 9]]
        assert chosen.length.tolist() == [[3, 3], [3, 3 - offset]]
        assert chosen.reset.tolist() == [[True, True], [False, False]]
    assert starts == {0, 1, 2}


def test_types_are_those_of_the_device():
    """Others are converted or refused at every step."""
    chosen = epoch(documents([3, 4, 5]), 2, 2)
    assert [part.dtype for part in chosen] == [np.int32, np.int32, np.bool_]


@pytest.mark.parametrize("tokens", [stream(50), documents([3, 9, 1, 5, 14, 2])])
def test_a_selection_is_a_function_of_its_arguments(tokens):
    """A resumed run would read other texts, as would one with more steps between reports."""
    whole = select(tokens, 2, 7, 3, 0, 40)
    for size in (1, 7):
        parts = [select(tokens, 2, 7, 3, i, min(size, 40 - i)) for i in range(0, 40, size)]
        for part, expected in zip(zip(*parts, strict=True), whole, strict=True):
            np.testing.assert_array_equal(np.concatenate(part), expected)
    assert select(tokens, 2, 8, 3, 0, 40).start.tolist() != whole.start.tolist()
    epochs = {epoch(tokens, 2, 3, 7, i).start.tobytes() for i in range(6)}
    assert len(epochs) > 1


def test_too_little_text_for_the_streams():
    """Otherwise a division by zero, or an epoch without a step."""
    assert steps_per_epoch(stream(13), 4, 3) == 1
    for tokens, batch in ((stream(13), 5), (documents([1, 2]), 3), (stream(3), 1)):
        with pytest.raises(UserError) as error:
            select(tokens, batch, 0, 3, 0, 1)
        message = str(error.value)
        assert f"config.train.batch_size={batch}" in message
        assert "config.data.segment=3" in message
        assert len(message.splitlines()) == 1


def test_inputs_and_targets_by_hand():
    """| is 200. Two streams, the second segment has one input, at the end of the array. Beyond
    its length, nothing of what follows may be seen."""
    ids = np.array([200, 5, 6, 7, 200, 8, 200], np.uint8)
    row = Selection(
        np.array([0, 5], np.int32), np.array([3, 1], np.int32), np.array([True] * 2)
    )
    batch = gather(jnp.asarray(ids), row, 3)
    assert batch.tokens.tolist() == [[200, 5, 6], [8, 0, 0]]
    assert batch.targets.tolist() == [[5, 6, 7], [200, 0, 0]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert [part.dtype for part in batch] == [np.int32, np.int32, np.bool_]
