"""A text is read as one stream: every token once, from all before it."""

from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from mocanet_jax.evaluate.language import LanguageEvaluator, rates
from mocanet_jax.evaluate.reading import lanes_of, windows_of
from mocanet_jax.inference.evaluation import evaluate
from mocanet_jax.tasks.corpora.corpus import Tokens
from mocanet_jax.train.build import build_model, build_task
from mocanet_jax.train.restore import restored
from mocanet_jax.train.state import initial_trained
from tests.language import tiny_language


def tokens(*lengths):
    """Documents of so many inputs; a single one is a stream."""
    starts = np.cumsum([0, *lengths])[:-1]
    ids = np.arange(sum(lengths) + 1).astype(np.uint8)
    return Tokens(ids, starts.astype(np.int64), len(ids), len(ids), len(ids))


def scored(steps):
    """Places of inputs whose successor is scored, in any order."""
    found = []
    for start, length, context in zip(
        steps.start.ravel(), steps.length.ravel(), steps.context.ravel(), strict=True
    ):
        found += range(start + context, start + length)
    return sorted(found)


@pytest.mark.parametrize("lengths", [(23,), (4, 9, 1, 7), (3, 3)])
def test_every_token_is_scored_once(lengths):
    """In lanes and in windows, whatever the number of documents."""
    text = tokens(*lengths)
    every = list(range(sum(lengths)))
    assert scored(lanes_of(text, 3, 5, 10**6)) == every
    for window in (1, 2, 3, 6, 7):
        assert scored(windows_of(text, 3, window, 10**6)) == every


def test_lanes_go_on_where_they_stopped_but_for_new_documents():
    """A document that is torn from its state would be predicted from another one's."""
    steps = lanes_of(tokens(4, 9, 1, 7), 2, 5, 10**6)
    for lane in range(steps.start.shape[1]):
        length = steps.length[:, lane]
        ends = steps.start[:, lane] + length
        for n in range(1, len(ends)):
            if length[n]:
                starts_document = steps.start[n, lane] in (0, 4, 13, 14)
                assert steps.reset[n, lane] == starts_document
                assert starts_document or steps.start[n, lane] == ends[n - 1]


def test_a_window_sees_at_least_its_half():
    """By hand: windows of 6 begin at 0, 3, 6, …, and score their last 3."""
    steps = windows_of(tokens(14), 1, 6, 10**6)
    assert steps.start.ravel().tolist() == [0, 3, 6, 9]
    assert steps.length.ravel().tolist() == [6, 6, 6, 5]
    assert steps.context.ravel().tolist() == [0, 3, 3, 3]
    assert steps.reset.all()


def test_no_more_is_read_than_was_wanted():
    assert scored(lanes_of(tokens(23), 2, 5, 12)) == list(range(12))
    assert scored(windows_of(tokens(23), 2, 6, 12)) == list(range(12))


@pytest.mark.parametrize("segment", [3, 64])
def test_the_loss_is_that_of_the_whole_text_at_once(tmp_path, segment):
    """Segments, their padding and the lanes are no part of the model."""
    file = tmp_path / "text.txt"
    file.write_text(tiny_language.text(), encoding="utf-8")
    config = tiny_language.config(file, eval__segment=segment)
    task = build_task(config, Path("none"))
    model = build_model(config, task)
    trained = jax.jit(lambda: initial_trained(model, task))()
    result = LanguageEvaluator(model, task, config).test(trained, {})
    ids = task.held_out["valid"].ids.astype(int)[None]
    logits, _, _ = jax.jit(lambda t, x: t.apply(model, x))(trained, ids[:, :-1])
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean()
    assert result.splits["valid"]["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert result.splits["valid"]["tokens"] == ids.size - 1
    assert result.context is None


def test_rates_by_hand():
    """1 nat a token, of 9 tokens after the first: 9 nats, 9 / ln 2 bits."""
    text = Tokens(np.zeros(10, np.uint8), np.zeros(1, np.int64), 20, 24, 3)
    found = rates(1.0, text)
    assert found["bits_per_character"] == pytest.approx(9 / np.log(2) / 20)
    assert found["bits_per_byte"] == pytest.approx(9 / np.log(2) / 24)
    assert found["perplexity"] == pytest.approx(np.e)
    assert found["perplexity_per_word"] == pytest.approx(np.exp(9 / 3))


def test_slots_of_fewer_bits_need_no_training(finished_language):
    """The same parameters with a smaller state, which reads nearly the same; and what is kept
    of the run says 32 still."""
    workdir, _ = finished_language
    whole = evaluate(workdir).summary
    narrow = evaluate(workdir, overrides={"model.slot_bits": 8}).summary
    assert narrow["state_bytes"] < whole["state_bytes"]
    assert narrow["eval/loss"] != whole["eval/loss"]
    assert narrow["eval/loss"] == pytest.approx(whole["eval/loss"], rel=1e-3)
    assert restored(workdir).config.model.slot_bits == 32
