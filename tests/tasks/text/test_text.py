"""The classification task: its splits, what a step trains on, and how logits are scored.

Axes: B batch, T time, M pieces of a word, C classes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.models.words import UNKNOWN_WORD
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import read_json
from mocanet_jax.tasks.text.buckets import select
from mocanet_jax.tasks.text.task import VOCABULARY_FILE, TextBatch
from mocanet_jax.tasks.text.vocabulary import Vocabulary, vocabulary_of
from tests.tasks.text.small_corpus import PHRASES, SENTENCES, VALIDATION, small_task

TASK = small_task()
B = 3


def test_held_out_sentences_are_not_trained_on():
    """A checkpoint would be chosen by texts that it knows."""
    trained, held = TASK.train_texts, TASK.held_out_texts
    assert len(held) == round(0.3 * len(SENTENCES))
    assert not set(trained.texts) & set(held.texts)
    known = dict(SENTENCES + PHRASES)
    for texts in (trained, held):
        assert [known[text] for text in texts.texts] == texts.labels.tolist()
    assert set(held.texts) < dict(SENTENCES).keys()
    assert small_task(seed=1).held_out_texts.texts != held.texts


def test_words_that_are_held_out_are_unknown():
    """Otherwise accuracy on held-out texts is of words that were all trained on."""
    words = set().union(*TASK.train_texts.tokens)
    assert set(TASK.vocabulary.words) == words
    new = set().union(*TASK.held_out_texts.tokens) - words
    assert new
    assert (TASK.vocabulary.encode(sorted(new))[:, 0] == UNKNOWN_WORD).all()


def test_settings_reach_the_vocabulary():
    """Otherwise a config has one size and the model another."""
    task = small_task(min_freq=2, max_vocab_size=3, num_pieces=77, max_pieces=4)
    vocabulary = task.vocabulary
    assert len(vocabulary.words) == 3
    assert (vocabulary.num_pieces, vocabulary.max_pieces) == (77, 4)
    assert task.vocab_size == len(vocabulary)
    counts = [
        sum(text.count(word) for text in task.train_texts.tokens) for word in ["a", "film"]
    ]
    assert min(counts) >= 2


def test_a_saved_vocabulary_is_used(tmp_path):
    """A run that goes on, or a chat, would number words by another day's corpus."""
    TASK.save(tmp_path)
    saved = vocabulary_of(read_json(tmp_path / VOCABULARY_FILE))
    assert saved == TASK.vocabulary
    other = Vocabulary(("film", "dull"), TASK.num_pieces, TASK.max_pieces)
    task = small_task(saved_vocabulary=other)
    assert task.vocabulary is other
    assert task.vocab_size == len(other)
    tokens, _ = task.pad([["dull", "warm"]], 2)
    np.testing.assert_array_equal(tokens[0], other.encode(["dull", "warm"]))
    table = jax.device_get(task.batches.data.table)
    assert set(table[:, 0].tolist()) == {0, UNKNOWN_WORD, *other.encode(["film", "dull"])[:, 0]}


def test_texts_are_padded_or_cut():
    """Otherwise padding counts as words, or a long text as a longer batch."""
    texts = [["warm", "film"], ["dull"], ["warm", "dull", "film", "next", "week"]]
    tokens, mask = TASK.pad(texts, 3)
    assert tokens.shape == (3, 3, 1 + TASK.max_pieces)
    assert tokens.dtype == np.int32
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, [[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    for row, text in zip(tokens, texts, strict=True):
        encoded = TASK.vocabulary.encode(text[:3])
        np.testing.assert_array_equal(row[: len(encoded)], encoded)
        assert not row[len(encoded) :].any()


def traced(task):
    """The lengths `run` was traced for, and (data, chosen of one step) → a batch padded to
    the longest bucket, with its own length; jitted."""
    lengths = []

    def run(batch):
        assert isinstance(batch, TextBatch)
        length = batch.mask.shape[1]
        lengths.append(length)
        extra = (0, task.longest - length)
        tokens = jnp.pad(batch.tokens, ((0, 0), extra, (0, 0)))
        return tokens, jnp.pad(batch.mask, ((0, 0), extra)), batch.labels, jnp.array(length)

    def step(data, chosen):
        return task.batches.on_batch(run, data, chosen, jax.random.key(0), B, (1, 1))

    return lengths, jax.jit(step)


@pytest.mark.parametrize("buckets", [(2, 4, 6), (3,)], ids=str)
def test_a_step_trains_on_the_texts_it_chose(buckets):
    """Otherwise a text meets another's label, padding counts as a word, or texts are missed;
    and a step that compiles again for each batch is slow."""
    task = small_task(buckets=buckets)
    texts, longest = task.train_texts, buckets[-1]
    expected = {}
    for text, label in zip(texts.tokens, texts.labels.tolist(), strict=True):
        tokens, mask = task.pad([text], longest)
        length = min(n for n in buckets if n >= min(len(text), longest))
        expected[tokens.tobytes()] = (mask[0], label, length)
    assert len(expected) == len(texts)
    lengths, step = traced(task)
    data = task.batches.data
    count = sum(-(-len(bucket.labels) // B) for bucket in data.buckets)
    chosen, met = task.batches.select(B, 0, count), set()
    for now in range(count):
        out = jax.device_get(step(data, jax.tree.map(lambda x, now=now: x[now], chosen)))
        for tokens, mask, label in zip(*out[:3], strict=True):
            key = tokens.tobytes()
            np.testing.assert_array_equal(mask, expected[key][0])
            assert (label, out[3]) == expected[key][1:]
            met.add(key)
    assert met == expected.keys()
    assert sorted(lengths) == list(buckets)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_training_is_that_of_the_seed(seed):
    """Otherwise all seeds train in one order, or a run that goes on starts again."""
    task = small_task(seed=seed)
    sizes = tuple(len(bucket.labels) for bucket in task.batches.data.buckets)
    for got, expected in zip(
        task.batches.select(B, 4, 5), select(sizes, B, seed, 4, 5), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


LOGITS = np.array(
    [
        [[2.0, 0.0, -1.0], [0.5, 1.0, 3.0], [0.0, 4.0, 0.0], [1.0, 0.0, 5.0]],
        [[1.0, 2.0, 0.0], [0.0, 1.0, 0.5], [0.0, -1.0, 0.0], [1.0, 0.0, 0.5]],
    ]
)
LABELS = np.array([0, 1, 1, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_score_by_hand(smoothing):
    """Otherwise training minimises something else, or reports another accuracy. Two members
    decide on four texts each: the first is right three times, the second once."""
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
    targets = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
    loss = -(targets * np.log(probabilities)).sum()
    batch = TextBatch(None, None, jnp.asarray(LABELS))
    scores = small_task(label_smoothing=smoothing).score(jnp.asarray(LOGITS), batch)
    np.testing.assert_allclose(scores.loss, loss, rtol=1e-5)
    assert float(scores.correct) == 3 + 1
    assert float(scores.texts) == 8
    means = scores.means()
    np.testing.assert_allclose(means["task_loss"], loss / 8, rtol=1e-5)
    np.testing.assert_allclose(means["accuracy"], 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buckets": ()}, "buckets must be rising lengths from 1 on"),
        ({"buckets": (0, 4)}, "buckets must be rising"),
        ({"buckets": (4, 4)}, "buckets must be rising"),
        ({"buckets": (8, 4)}, "buckets must be rising"),
        ({"held_out": 0.0}, "held_out is a share between 0 and 1, not 0.0"),
        ({"held_out": 1.0}, "held_out is a share"),
        ({"held_out": float("nan")}, "held_out is a share"),
        ({"label_smoothing": -0.1}, "label_smoothing must be in"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in"),
        ({"label_smoothing": float("nan")}, "label_smoothing must be in"),
        ({"min_freq": 0}, "min_freq and max_vocab_size must be at least 1"),
        ({"max_vocab_size": 0}, "min_freq and max_vocab_size must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    """Otherwise they fail late, after the data was read, or not at all."""
    with pytest.raises(ValueError, match=message):
        small_task(**changes)


@pytest.mark.parametrize("changes", [{"num_pieces": 1}, {"max_pieces": -1}], ids=str)
def test_impossible_pieces_are_refused(changes):
    """An entry point turns a ValueError of settings into one line, but not a later one."""
    with pytest.raises(ValueError, match="num_pieces must be at least 2"):
        small_task(**changes)


def test_the_split_to_evaluate_on():
    """An accuracy would be reported of other texts than requested."""
    assert TASK.evaluation_texts.texts == [text for text, _ in VALIDATION]
    assert TASK.evaluation_texts.labels.tolist() == [label for _, label in VALIDATION]


def test_a_file_to_evaluate_on(tmp_path):
    """Somebody's own texts are evaluated in place of the validation split, and have the
    task's classes."""
    file = tmp_path / "own.tsv"
    file.write_text("sentence\tlabel\nSo witty!\t2\n")
    texts = small_task(eval_file=str(file)).evaluation_texts
    assert texts.tokens == [["so", "witty", "!"]]
    assert texts.labels.tolist() == [2]
    file.write_text("sentence\tlabel\nSo witty!\t3\n")
    with pytest.raises(UserError, match=r"own\.tsv, line 2: .* from 0 to 2, not '3'"):
        _ = small_task(eval_file=str(file)).evaluation_texts


def test_reading_beforehand_reads_everything_once(monkeypatch):
    """Otherwise a run finds out late that a file is unusable, or reads it twice."""
    task, met = small_task(), []
    for name in ("read_train", "read_validation"):
        read = getattr(type(task), name)
        noted = lambda self, name=name, read=read: met.append(name) or read(self)
        monkeypatch.setattr(type(task), name, noted)
    task.record()
    assert sorted(met) == ["read_train", "read_validation"]
    _ = task.train_texts, task.held_out_texts, task.evaluation_texts, task.vocabulary
    assert len(met) == 2


def test_training_has_one_length():
    """The curriculum of other tasks must leave texts as they are."""
    assert TASK.lengths == (1, 6, 6)
