"""One row of a table that is far longer than all others must not allocate all memory there is.

To add a case is to add a line to a table.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.budget import Usage
from mocanet_jax.evaluate import text
from mocanet_jax.evaluate.results import text_results
from mocanet_jax.evaluate.text import BATCH, SMALLEST_BATCH, TOKENS, TextEvaluator
from mocanet_jax.tasks.text.labelled import MAX_WORDS
from mocanet_jax.train.build import build_task
from tests.train.text import tiny_text

LONG = {
    "20,000 words": "good film " * 10_000,
    "one word of a million letters": "x" * 1_000_000,
    "a million marks": "!" * 1_000_000,
    "100,000 contractions": "isn't " * 100_000,
    "as many words as are read": "dull " * MAX_WORDS,
    "one word more": "dull " * (MAX_WORDS + 1),
    "a word and many spaces": "dull" + " " * 1_000_000,
    "many signs with long names": "👎" * 20_000,
}


@pytest.fixture
def evaluated(monkeypatch):
    """An evaluator of a task, and the shapes [B, T] of the batches that it runs."""

    def make(task):
        evaluator, shapes = TextEvaluator(None, task, None), []

        def run(_, tokens, mask):
            shapes.append(mask.shape)
            usage = Usage(*(jnp.zeros(()) for _ in Usage._fields))
            return np.arange(2 * len(mask)).reshape(-1, 2) + np.float32(mask[:, :1]), usage

        monkeypatch.setattr(evaluator, "_run", run)
        return evaluator, shapes

    return make


@pytest.mark.parametrize("row", LONG)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_long_row_is_trained_on_and_evaluated(corpus, evaluated, tmp_path, row, split):
    """A text of 20,000 words took 35 GB at the first validation, before anything was saved."""
    for name in ("train", "dev"):
        content = (corpus / f"{name}.tsv").read_text()
        more = f"{LONG[row]}\t1\n" if name == split else ""
        (tmp_path / f"{name}.tsv").write_text(content + more)
    task = build_task(tiny_text.config(tmp_path), tmp_path)
    data = task.batches.data
    assert max(bucket.words.shape[1] for bucket in data.buckets) == tiny_text.BUCKETS[-1]
    evaluator, shapes = evaluated(task)
    logits, _ = evaluator.logits(None, task.evaluation_texts.tokens)
    assert len(logits) == len(task.evaluation_texts)
    longest = task.fitting_length(MAX_WORDS)
    assert max(np.prod(shape) for shape in shapes) <= max(TOKENS, SMALLEST_BATCH * longest)


def test_batches_of_long_texts_are_smaller_and_texts_keep_their_order(corpus, evaluated):
    """Else logits are of another text, or memory grows with the longest."""
    task = build_task(tiny_text.config(corpus), corpus)
    evaluator, shapes = evaluated(task)
    evaluator._run = lambda _, tokens, mask: (
        shapes.append(mask.shape) or mask.sum(axis=1, keepdims=True).repeat(2, axis=1),
        Usage(*(jnp.zeros(()) for _ in Usage._fields)),
    )
    lengths = np.random.default_rng(0).permutation(
        [*[5] * BATCH, *range(6, 200, 9), 900, 1024, 2000, 30_000]
    )
    logits, _ = evaluator.logits(None, [["dull"] * n for n in lengths])
    np.testing.assert_array_equal(logits[:, 0], np.minimum(lengths, MAX_WORDS))
    assert shapes[0][0] == BATCH
    assert shapes[-1] == (SMALLEST_BATCH, task.fitting_length(MAX_WORDS))


def test_texts_that_are_cut_are_counted(corpus):
    """Else the accuracy looks like that of whole texts."""
    tokens = [["a"] * n for n in (1, MAX_WORDS, MAX_WORDS + 1, 20_000)]
    texts = text.LabelledTexts([""] * 4, tokens, np.zeros(4, np.int32))
    results = text_results(texts, np.log(np.full((4, 2), 0.5)), {"usage": 0.0}, ("a", "b"))
    assert results.metrics["texts_cut"] == 2
    assert max(results.by_length) == 1100  # in steps of 100, beyond the 1,024 that are read
