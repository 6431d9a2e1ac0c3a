"""What the page answers: typed text and sequences, at any λ, and how training goes on."""

import threading

import pytest

from mocanet_jax.inference.copying import CopyPredictor
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.report import page
from mocanet_jax.report.page import CopyAnswers, TextAnswers
from mocanet_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def sentiment(finished_text):
    return TextAnswers(TextPredictor(finished_text[0]))


def test_a_text_is_answered_at_the_multiplier_of_the_slider(sentiment):
    """The slider starts where training ended; at its end nothing is spent."""
    assert sentiment.multiplier == float(sentiment.predictor.trained.multiplier)
    last = sentiment.answer("a dull film", sentiment.highest)
    assert "<b>0 %</b><span>of the full compute" in last
    assert f"<b>{sentiment.highest:.1f}</b><span>λ" in last
    assert "<b>0 %</b>" not in sentiment.answer("a dull film", 0.0)


def test_a_text_without_a_word_says_so(sentiment):
    assert "there is no word in it" in sentiment.answer(" \n", 0.0)


def test_a_copy_model_that_is_there_answers_at_once(finished, monkeypatch):
    """And is not trained again."""
    monkeypatch.setattr(page, "train_copy", None)
    copies = CopyAnswers(finished[0])
    *before, answer = copies.answers("ab")
    assert ["loading" in line for line in before] == [True]
    assert "of 2 scored symbols correct" in answer
    assert "<svg" in answer
    (last,) = copies.answers("ab", copies.highest)
    assert "<b>0 %</b><span>of the full compute" in last


@pytest.fixture
def training(finished, monkeypatch, tmp_path):
    """A copy model that is trained when the event is set; it is that of `finished`."""
    done = threading.Event()

    def train(workdir, monitor):
        with monitor.training(0, 200):
            monitor.note("compiling ...")
            monitor.update(50, {"accuracy": 0.5, "longest": 8.0, "usage": 0.25})
            assert done.wait(60)

    monkeypatch.setattr(page, "train_copy", train)
    monkeypatch.setattr(page, "CopyPredictor", lambda _: CopyPredictor(finished[0]))
    monkeypatch.setattr(page, "POLL", 0.01)
    return CopyAnswers(tmp_path / "copy"), done


def test_the_first_copy_trains_and_tells_how_far_it_is(training):
    copies, done = training
    shown = []
    for fragment in copies.answers("ab"):
        shown.append(fragment)
        if "step 50 of at most 200: 50% of symbols right" in fragment:
            done.set()
    assert 'progress value="0.250"' in "".join(shown)
    assert "scored symbols correct" in shown[-1]


def test_who_comes_back_sees_the_same_training(training):
    """A second one in the same directory would be refused, or train it twice."""
    copies, done = training
    first, second = copies.answers("ab"), copies.answers("cd")
    next(first)
    started = copies._training
    next(second)
    assert copies._training is started
    done.set()
    for answers in (first, second):
        assert "scored symbols correct" in list(answers)[-1]


def test_a_training_that_fails_says_why(monkeypatch, tmp_path):
    def fail(workdir, monitor):
        raise UserError("the disk is full")

    monkeypatch.setattr(page, "train_copy", fail)
    assert "the disk is full" in list(CopyAnswers(tmp_path / "copy").answers("ab"))[-1]


@pytest.mark.parametrize(
    ("text", "payload"), [("ab", [97, 98]), (" a b ", [97, 32, 98]), ("}!", [125, 33])]
)
def test_characters_are_symbols(text, payload):
    assert page.symbols(text) == payload


@pytest.mark.parametrize("text", ["", "  ", "é", "~", "a\tb", "x" * 41])
def test_what_cannot_be_copied_is_told(text, tmp_path):
    """Symbol 126 is the marker; a line, and no training of something else."""
    (line,) = CopyAnswers(tmp_path).answers(text)
    assert "can be copied" in line or "type 1 to 40 characters" in line
    assert not list(tmp_path.iterdir())
