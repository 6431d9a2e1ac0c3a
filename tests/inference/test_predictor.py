"""A trained classifier on text as people type it: the answers of evaluation, and why.

Axes: L words of one text, C classes, K active experts, H memory heads.
"""

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocanet_jax.evaluate.calibration import probabilities
from mocanet_jax.evaluate.text import TextEvaluator
from mocanet_jax.inference import predictor
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.tokenizer import tokenize
from tests.train.text import tiny_text

READINGS = 4  # of one layer, by two members, in two directions
WORDS = sorted({*tiny_text.FILLERS, *tiny_text.WORDS[0], *tiny_text.WORDS[1], "zebra"})


@pytest.fixture(scope="module")
def trained(finished_text):
    """Explains three words at once of texts padded to eight, so that five take two batches."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(predictor, "MAX_WORDS", 24)
        yield TextPredictor(finished_text[0])


texts = st.lists(st.sampled_from(WORDS), min_size=2, max_size=8).map(" ".join)
several = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_best_checkpoint_answers(trained, finished_text):
    """Otherwise what a user reads of the model is not of the model that answers."""
    result = finished_text[1]
    assert trained.step == result["evaluated_step"]
    assert trained.classes == ("negative", "positive")
    assert trained.validation["accuracy"] == result["eval/accuracy"]
    assert trained.temperature == trained.validation["temperature"]


def test_the_best_checkpoint_answers_unless_another_is_requested(two_checkpoints):
    """Otherwise all checkpoints of a run look equally good when they are compared."""
    workdir, validations = two_checkpoints
    best, first, second = (TextPredictor(workdir, step) for step in (None, 1, 2))
    assert (best.step, first.step, second.step) == (1, 1, 2)
    for one in (best, first, second):
        assert one.validation == validations[one.step]
        assert one.temperature == validations[one.step]["temperature"]
    jax.tree.map(np.testing.assert_array_equal, best.trained, first.trained)
    negated = lambda x, y: np.testing.assert_array_equal(x, -y)
    jax.tree.map(negated, best.trained.params, second.trained.params)


def test_answers_are_those_of_evaluation(trained):
    """Otherwise a user meets another model than the one whose accuracy is reported. Held-out
    sentences, of every length up to the longest bucket."""
    task = trained.task
    sentences = [text for text in task.evaluation_texts.texts if len(text.split()) <= 8][:6]
    evaluator = TextEvaluator(trained.model, task, None)
    logits, _ = evaluator.logits(trained.trained, [tokenize(text) for text in sentences])
    expected = probabilities(logits, trained.temperature)
    for text, p in zip(sentences, expected, strict=True):
        prediction = trained.predict(text)
        np.testing.assert_allclose(prediction.probabilities, p, atol=1e-5)
        assert prediction.predicted == p.argmax()
        assert prediction.confidence == pytest.approx(p.max(), abs=1e-5)
        assert prediction.words == tokenize(text)
        assert prediction.cut == 0
        assert prediction.probabilities.sum() == pytest.approx(1)


def test_words_are_read_as_in_training_and_unknown_ones_are_reported(trained):
    """Otherwise a user takes a guess on words never met for knowledge."""
    prediction = trained.predict("The FILM isn't dreary.")
    assert prediction.words == ["the", "film", "is", "n't", "dreary", "."]
    assert prediction.known == [True, True, True, False, False, True]


@pytest.mark.parametrize("text", ["", "  \t\n", "<b></b>"])
def test_a_text_without_a_word_has_no_answer(trained, text):
    """A probability would be of nothing at all."""
    assert trained.predict(text) is None
    assert trained.explain(text) is None


def test_a_long_text_is_cut_and_says_so(trained, monkeypatch):
    """Otherwise a pasted book fills the memory, or its end is silently left out."""
    monkeypatch.setattr(predictor, "MAX_WORDS", 5)
    whole = "it is a dull film"
    prediction = trained.predict(f"{whole} with great great warm words")
    assert prediction.words == whole.split()
    assert prediction.cut == 5
    np.testing.assert_array_equal(
        prediction.probabilities, trained.predict(whole).probabilities
    )
    explained = trained.explain(f"{whole} with great great warm words")
    assert explained.prediction.cut == 5
    assert len(explained.influence) == explained.experts.shape[1] == 5


@several
@given(texts)
def test_influence_is_what_the_probability_loses_without_the_word(trained, text):
    """Predicted without the word: a masked word must leave no trace, in either direction."""
    words, explained = text.split(), trained.explain(text)
    predicted = explained.prediction.predicted
    whole = trained.predict(text).probabilities
    np.testing.assert_allclose(explained.prediction.probabilities, whole, atol=1e-5)
    without = [trained.predict(" ".join(words[:i] + words[i + 1 :])) for i in range(len(words))]
    lost = [whole[predicted] - other.probabilities[predicted] for other in without]
    np.testing.assert_allclose(explained.influence, lost, atol=1e-5)


def test_influence_of_the_only_word_is_against_not_knowing(trained):
    """Nothing is left to predict from; of two classes a coin gives half."""
    explained = trained.explain("great")
    assert explained.influence == pytest.approx([explained.prediction.confidence - 0.5])


@several
@given(texts)
def test_every_word_has_experts_and_slots(trained, text):
    """One entry a reading and word, none of which is padding's; −1 where a gate was closed."""
    count, layer = len(text.split()), trained.model.spec.layer
    explained = trained.explain(text)
    assert explained.experts.shape == (READINGS, count, layer.experts.top_k)
    assert explained.slots.shape == (READINGS, count, layer.num_heads)
    for chosen, of in (
        (explained.experts, layer.num_experts),
        (explained.slots, layer.memory.num_slots),
        (explained.read_slots, layer.memory.num_slots),
    ):
        assert chosen.min() >= -1
        assert chosen.max() < of


def test_readings_from_the_end_are_given_in_the_order_of_words(trained):
    """Against the bare model, which needs no padding for a text of a bucket's length: experts
    that belong to another word would mislead whoever looks for their meaning."""
    words = ["the", "dull", "plot", "is", "warm", "with", "a", "film"]
    assert len(words) == trained.task.longest
    explained = trained.explain(" ".join(words))
    tokens = trained.task.vocabulary.encode(words)[None]
    apply = jax.jit(lambda t: t.apply(trained.model, tokens)[2].layers)
    (layer,) = jax.device_get(apply(trained.trained))
    (trace,) = layer.memory.traces
    write = trace.write
    strongest = np.zeros(write.weights.shape[:-1], int)
    for at in np.ndindex(*strongest.shape):
        strongest[at] = write.indices[at][int(np.argmax(write.weights[at]))]
        strongest[at] = strongest[at] if layer.memory.writes[at] else -1
    experts = np.where(layer.experts.computed, layer.experts.indices, -1)
    for shown, own in ((explained.experts, experts), (explained.slots, strongest)):
        for member in range(2):
            forwards, backwards = own[member]
            np.testing.assert_array_equal(shown[2 * member], forwards)
            np.testing.assert_array_equal(shown[2 * member + 1], backwards[::-1])
    both = (explained.experts, explained.slots)
    order = (shown[1::2] != shown[1::2, ::-1] for shown in both)
    assert any(differ.any() for differ in order), "the order makes no difference here"


def test_a_folder_without_a_run_is_refused(tmp_path):
    """Otherwise a mistyped folder shows as a traceback, or is made."""
    with pytest.raises(UserError, match=r"no trained model in .*/none: train first"):
        TextPredictor(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_kind_is_refused(finished):
    """Otherwise a model that copies symbols is used as a classifier."""
    with pytest.raises(UserError, match="holds a copy run, not a classifier"):
        TextPredictor(finished[0])


def test_a_checkpoint_that_is_not_there_is_refused(finished_text):
    """Otherwise a mistyped step shows as a traceback out of Orbax."""
    with pytest.raises(UserError, match="99"):
        TextPredictor(finished_text[0], step=99)


def test_a_higher_multiplier_closes_gates_with_the_same_program(trained):
    """A slider that compiles at each of its steps answers after seconds."""
    text = "the dull plot is warm"
    highest = trained.model.layer.max_multiplier
    trained.explain(text)
    programs = trained._rows._cache_size()
    explained = [trained.with_multiplier(s * highest).explain(text) for s in (0.0, 0.03, 1.0)]
    first, second, last = (one.spending.total.mean() for one in explained)
    assert first >= second >= last == 0
    assert first > 0
    for engaged in explained[-1][2:5]:
        assert (engaged == -1).all()
    assert trained._rows._cache_size() == programs


def test_what_an_explanation_spends_is_that_of_the_prediction(trained):
    """Otherwise the rows of texts without a word are mixed into it."""
    explained = trained.explain("the dull plot is warm")
    spent = trained.spending(explained.prediction)
    for one, other in zip(explained.spending, spent, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    used = (explained.read_slots >= 0).mean(axis=(0, 2))
    share = trained.model.layer.unit_shares.read * trained.model.layer.num_heads
    np.testing.assert_allclose(explained.spending.reads, share * used, atol=1e-6)
