"""Texts that say nothing: what they are made of, and what they are labelled with.

Axes: N texts, C classes.
"""

import numpy as np
import pytest

from mocanet_jax.tasks.text.nonsense import COMMON, LONGEST, MARKS, nonsense
from tests.tasks.text.small_corpus import PHRASES, SENTENCES, corpus, small_task

TEXTS = corpus(SENTENCES + PHRASES)


def test_probabilities_are_the_frequencies_of_labels():
    """Of 16 texts 5 are bad, 5 mixed and 6 good, and nothing else is known."""
    made = nonsense(TEXTS, num_classes=4, count=3, seed=0)
    np.testing.assert_allclose(made.labels, [[5 / 16, 5 / 16, 6 / 16, 0]] * 3)
    assert made.labels.dtype == np.float32


def test_invented_words_are_unknown_and_spelt_with_known_letters():
    """Known words would teach that they mean nothing."""
    made = nonsense(TEXTS, 3, count=400, seed=1)
    known = {word for words in TEXTS.tokens for word in words}
    found = {word for words in made.tokens for word in words}
    numbers, marks = {w for w in found if w.isdigit()}, found & set(MARKS)
    assert numbers
    assert marks
    assert len(found & known - set(MARKS)) <= COMMON
    invented = found - known - numbers - marks
    assert len(invented) > 100
    assert set("".join(invented)) <= set("".join(known))
    assert all(1 <= len(words) <= LONGEST for words in made.tokens)
    assert [" ".join(words) for words in made.tokens] == made.texts


def test_the_seed_decides():
    """A run that goes on has to train on the same texts."""
    one, same, other = (nonsense(TEXTS, 3, 20, seed).texts for seed in (2, 2, 3))
    assert one == same != other


def test_a_task_trains_on_a_share_of_them():
    """Half as many as there are others, which keep their labels."""
    plain, task = (small_task(nonsense_share=x) for x in (0.0, 0.5))
    count = len(plain.train_texts)
    labels = np.concatenate([np.asarray(b.labels) for b in task.batches.data.buckets])
    assert len(labels) == count + round(count / 2)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    decided = labels[labels.max(axis=1) > 0.9]
    assert np.bincount(decided.argmax(axis=1)).tolist() == [
        int(np.sum(plain.train_texts.labels == label)) for label in range(3)
    ]
    assert plain.vocabulary == task.vocabulary


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="nonsense_share must be in"):
        small_task(nonsense_share=share)
