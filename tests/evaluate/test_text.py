"""Evaluation of texts: a text's logits are its own, whatever it is evaluated with.

Axes: T time, N texts, C classes.
"""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocanet_jax.evaluate import calibration
from mocanet_jax.evaluate import text as text_evaluator
from mocanet_jax.evaluate.text import TextEvaluator
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.tasks.text.tokenizer import tokenize
from mocanet_jax.train import build
from mocanet_jax.train.state import initial_params
from tests.train.text import tiny_text

BATCH = 4
TEXTS = [
    "the film is great",
    "dull",
    "a plot with a plot and the awful film with it .",
    "it is warm and funny and a film",  # as long as the longest bucket
    "never met words here",
    "the film is great",
    "a film and a tired plot is a tired film",
    "fine film",
    "is it bad ?",
]
TOKENS = [tokenize(text) for text in TEXTS]


@pytest.fixture(scope="module")
def task(corpus):
    return build.build_task(tiny_text.config(corpus), corpus)


@pytest.fixture(scope="module")
def evaluator(corpus, task):
    """An evaluator, and parameters that are random everywhere, with a multiplier above 0."""
    config = tiny_text.config(corpus)
    model = build.build_model(config, task)
    shapes = jax.eval_shape(partial(initial_params, model, task))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: 0.5 * rng.normal(size=x.shape).astype(x.dtype), shapes)
    return TextEvaluator(model, task, config), Trained(params, np.float32(1.5))


NOTHING = Trained({}, np.float32(0))


class Adding:
    """Stands in for a model of one member: the logits of a text are the sum of its words'
    numbers and of its pieces; usage counts its words. Notes the shapes that are compiled."""

    def __init__(self):
        self.shapes = []

    def apply(self, _, tokens, mask, multiplier):
        self.shapes.append(mask.shape)
        live = tokens * mask[..., None]
        words, pieces = live[..., 0].sum(axis=1), live[..., 1:].sum(axis=(1, 2))
        logits = jnp.stack([words, pieces], axis=1)[None]
        return logits.astype(float), None, SimpleNamespace(usage=mask.sum())


@pytest.fixture(scope="module")
def adding(task):
    """In batches of four."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(text_evaluator, "BATCH", BATCH)
        yield TextEvaluator(Adding(), task, None)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=11), st.integers(0, 2**32 - 1))
def test_every_text_is_judged_once_and_whole(adding, lengths, seed):
    """Whatever the lengths and their order, and however full the last batch: otherwise a text
    is cut, or judged by the label of another."""
    rng = np.random.default_rng(seed)
    texts = [rng.choice(tiny_text.FILLERS, length).tolist() for length in lengths]
    logits, usage = adding.logits(NOTHING, texts)
    encoded = [adding.task.vocabulary.encode(words) for words in texts]
    expected = [[rows[:, 0].sum(), rows[:, 1:].sum()] for rows in encoded]
    np.testing.assert_array_equal(logits, expected)
    assert usage == sum(lengths)


def test_few_shapes_are_compiled(task, monkeypatch):
    """Otherwise evaluation compiles for every length that it meets."""
    monkeypatch.setattr(text_evaluator, "BATCH", BATCH)
    model = Adding()
    evaluator = TextEvaluator(model, task, None)
    for count in (32, 7):
        evaluator.logits(NOTHING, [["film"] * length for length in range(1, count + 1)])
    assert sorted(model.shapes) == [(BATCH, 8), (BATCH, 16), (BATCH, 32)]


def test_logits_are_those_of_each_text_alone_and_unpadded(evaluator):
    """Otherwise accuracy depends on the batch size, on the order of a file, or on padding:
    here to 16 among others, to 8 with no other, and none."""
    evaluator, trained = evaluator
    found, _ = evaluator.logits(trained, TOKENS)
    assert found.shape == (len(TEXTS), 2)
    apply = lambda trained, tokens: trained.apply(evaluator.model, tokens)[0]
    unpadded = jax.jit(lambda trained, tokens: apply(trained, tokens).mean(axis=0))
    for place in (0, 4):
        words = TOKENS[place]
        alone, _ = evaluator.logits(trained, [words])
        np.testing.assert_allclose(found[place], alone[0], atol=1e-5)
        bare = unpadded(trained, evaluator.task.vocabulary.encode(words)[None])
        np.testing.assert_allclose(alone, bare, atol=1e-5)
    shuffled, _ = evaluator.logits(trained, TOKENS[::-1])
    np.testing.assert_allclose(shuffled[::-1], found, atol=1e-5)
    np.testing.assert_allclose(found[0], found[5], atol=1e-5)
    assert len(set(found[:, 0].round(4).tolist())) == len(set(TEXTS))


def test_usage_is_that_of_the_texts_alone(evaluator):
    """Padding and empty rows that count would make a model look frugal or wasteful. With all
    gates open every word is written and read once by each of two members in each of two
    directions, and uses one of two experts."""
    evaluator, trained = evaluator

    def opened(path, leaf):
        name = jax.tree_util.keystr(path)
        gate = any(part in name for part in ("router_expert", "write_gate", "read_gate"))
        return leaf + 50 if gate and "bias" in name else leaf

    _, usage = evaluator.logits(jax.tree_util.tree_map_with_path(opened, trained), TOKENS)
    words, flops = sum(map(len, TOKENS)), evaluator.model.spec.layer.flops
    np.testing.assert_allclose(usage.writes, 4 * words * flops.writes, rtol=1e-6)
    np.testing.assert_allclose(usage.reads, 4 * words * flops.reads, rtol=1e-6)
    np.testing.assert_allclose(usage.experts, 4 * words * flops.experts / 2, rtol=1e-6)
    np.testing.assert_array_equal(usage.counts, [0, 4 * words])
    _, usage = evaluator.logits(trained, TOKENS)
    alone = [evaluator.logits(trained, [tokens])[1] for tokens in TOKENS]
    chex.assert_trees_all_close(usage, jax.tree.map(lambda *x: sum(x), *alone), rtol=1e-5)
    assert all(0.05 < share < 0.95 for share in usage.shares().values())


@pytest.mark.parametrize(
    ("length", "fitting"),
    [(1, 8), (7, 8), (8, 8), (9, 16), (16, 16), (17, 32), (64, 64), (65, 128), (1024, 1024)],
)
def test_the_training_length_is_doubled_until_a_text_fits(task, length, fitting):
    """One less would cut the text, one more would compile and pad for nothing."""
    assert task.fitting_length(length) == fitting


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.integers(1, 5000), st.integers(1, 200))
def test_every_text_fits_with_less_than_half_to_spare(task, length, longest):
    """Rounding in a logarithm must cut no text."""
    fitting = replace(task, buckets=(longest,)).fitting_length(length)
    assert fitting >= length
    assert fitting == longest or fitting < 2 * length
    assert np.log2(fitting / longest).is_integer()


def test_held_out_sentences_are_what_calibration_and_choice_look_at(evaluator):
    """A temperature fitted to the validation split, or a checkpoint chosen by it, makes its
    numbers too good."""
    evaluator, trained = evaluator
    held_out, validation = evaluator.task.held_out_texts, evaluator.task.evaluation_texts
    metrics = evaluator.validate(trained)
    logits, _ = evaluator.logits(trained, held_out.tokens)
    temperature = calibration.fit_temperature(logits, held_out.labels)
    assert metrics["temperature"] == pytest.approx(temperature, rel=1e-6)
    expected = calibration.cross_entropy(logits, held_out.labels, temperature)
    assert metrics["held_out_loss"] == pytest.approx(expected, rel=1e-6)
    assert metrics["held_out_accuracy"] == (logits.argmax(axis=1) == held_out.labels).mean()
    assert evaluator.chosen_by == "held_out_loss"
    reported = evaluator.test(trained, metrics).metrics
    assert reported.items() <= metrics.items()
    assert metrics["texts"] == len(validation)
    halved = metrics | {"temperature": metrics["temperature"] / 2}
    cold = evaluator.test(trained, halved).metrics
    assert cold["accuracy"] == metrics["accuracy"]
    assert cold["ece"] != metrics["ece"], "the temperature has no effect"


def test_a_validation_is_described_by_both_accuracies(evaluator):
    """Otherwise a reader takes one for the other."""
    line = evaluator[0].describe({"accuracy": 0.8125, "held_out_accuracy": 0.75})
    assert line == "accuracy 81.25% (held out of training: 75.00%)"
