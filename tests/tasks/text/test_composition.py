"""Texts composed of phrases: their label follows from the phrases, by two rules."""

import numpy as np
import pytest

from mocanet_jax.tasks.text.composition import composed
from mocanet_jax.tasks.text.tokenizer import tokenize
from tests.tasks.text.small_corpus import corpus

TWO = corpus([("so dull", 0), ("very fine", 1)])

CONTRASTS = [
    "so dull , but very fine",
    "so dull but very fine",
    "so dull , yet very fine",
    "although so dull , very fine",
    "though so dull , very fine",
    "while so dull , very fine",
    "despite so dull , very fine",
    "even though so dull , very fine",
    "so dull . still , very fine",
    "so dull ; very fine overall",
    "so dull , very fine all the same",
    "so dull , and overall very fine",
    "so dull . the rest is very fine",
]
"""All are positive: the last phrase decides. With the phrases exchanged, negative."""

NEGATIONS = [
    "not so dull",
    "is not so dull",
    "it 's not so dull",
    "is n't so dull",
    "was n't so dull",
    "are n't so dull",
    "never so dull",
    "is never so dull",
    "not so dull at all",
    "nothing so dull about it",
    "there 's nothing so dull here",
    "anything but so dull",
    "hardly so dull",
    "without being so dull",
    "it 's not so dull and not so dull",
]
"""All are positive. Of "very fine", negative."""


def rows(texts):
    return list(zip(texts.texts, texts.labels.tolist(), strict=True))


def exchanged(text):
    return (
        text.replace("so dull", "X").replace("very fine", "so dull").replace("X", "very fine")
    )


@pytest.mark.parametrize(("counts", "positive"), [((400, 0), CONTRASTS), ((0, 400), NEGATIONS)])
def test_every_frame_and_its_label_by_hand(counts, positive):
    """A frame that keeps the label where it should turn it teaches the opposite. 400 draws
    meet every frame with either label."""
    expected = {(text, 1) for text in positive} | {(exchanged(text), 0) for text in positive}
    assert set(rows(composed(TWO, *counts, seed=0))) == expected


def test_as_many_texts_as_requested():
    """Contrasts first; no more, and none where none is wanted."""
    assert len(composed(TWO, 0, 0, seed=0)) == 0
    texts = composed(TWO, 7, 5, seed=0)
    assert (len(texts), texts.labels.dtype, texts.labels.shape) == (12, np.int32, (12,))
    whole = set(CONTRASTS) | set(map(exchanged, CONTRASTS))
    assert [text in whole for text in texts.texts] == [True] * 7 + [False] * 5


def test_labels_are_even():
    """A corpus with more praise than blame must not become more lopsided: here four phrases
    of five are positive. 1000 fair draws are within 0.5 ± 0.05 in 99.8 of 100 cases."""
    lopsided = corpus([("so dull", 0), *((f"very fine{i}", 1) for i in range(4))])
    for counts in ((1000, 0), (0, 1000)):
        assert abs(composed(lopsided, *counts, seed=0).labels.mean() - 0.5) < 0.05


def test_every_phrase_is_used():
    """Drawn evenly, as are both places of a negation that has two."""
    phrases = [(f"bad{i} film{i}", 0) for i in range(3)] + [(f"good{i}", 1) for i in range(3)]
    texts = composed(corpus([*phrases, ("good film", 1)]), 100, 200, seed=0)
    used = set(" ".join(texts.texts).split())
    assert {f"bad{i}" for i in range(3)} | {f"good{i}" for i in range(3)} <= used
    pairs = [t.removeprefix("it 's not ").split(" and not ") for t in texts.texts]
    assert any(len(pair) == 2 and pair[0] != pair[1] for pair in pairs)


def test_what_is_composed_is_a_function_of_the_seed():
    """A resumed run would train on other texts than an uninterrupted one."""
    one, again, other = (rows(composed(TWO, 30, 30, seed)) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_tokens_are_those_of_the_text():
    """Training would meet words that no text has when it is read."""
    texts = composed(TWO, 200, 200, seed=0)
    assert texts.tokens == [tokenize(text) for text in texts.texts]


@pytest.mark.parametrize(
    ("missing", "kept"),
    [
        (lambda words, label: label == 0, (0, 0)),
        (lambda words, label: label == 1, (0, 0)),
        (lambda words, label: label == 1 and words == 1, (5, 0)),  # nothing to negate
        (lambda words, label: label == 0 and words > 1, (0, 5)),  # nothing to contrast
    ],
)
def test_a_rule_without_phrases_of_both_labels_adds_nothing(missing, kept):
    """A small or one-sided corpus must not end in an error, nor labels be drawn that no
    phrase has."""
    phrases = [("dull", 0), ("so very dull", 0), ("fine", 1), ("so very fine", 1)]
    left = [(text, label) for text, label in phrases if not missing(len(text.split()), label)]
    assert len(composed(corpus(left), 5, 5, seed=0)) == sum(kept)
    assert len(composed(corpus(left), 5, 0, seed=0)) == kept[0]


def test_lengths_are_kept_to():
    """Whole sentences are no clauses, and the label of the negation of a longer phrase is open.
    The phrase of n words is n times its own word."""
    lengths = [1, 2, 3, 12, 13, 20]
    phrases = [
        (" ".join([f"{word}{n}"] * n), label)
        for n in lengths
        for label, word in ((0, "dull"), (1, "fine"))
    ]
    of = lambda counts: set(" ".join(composed(corpus(phrases), *counts, seed=0).texts).split())
    words = {text.split()[0]: len(text.split()) for text, _ in phrases}
    used = lambda counts: {words[word] for word in of(counts) if word in words}
    assert used((400, 0)) == {2, 3, 12}
    assert used((0, 400)) == {1, 2}
