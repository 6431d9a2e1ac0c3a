"""Evaluation: how many sequences of which lengths, in what batches and with how much memory.

The model is never run: `eval_step` is replaced by one that notes what it is given.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.core import budget
from mocanet_jax.evaluate import sequence as sequence_evaluator
from mocanet_jax.evaluate.step import BatchSums, OffTask
from mocanet_jax.tasks.synthetic.copy import CopyTask
from mocanet_jax.tasks.synthetic.induction_heads import InductionHeadsTask
from mocanet_jax.tasks.synthetic.selective_copying import SelectiveCopyingTask
from mocanet_jax.tasks.synthetic.sequence import Scores
from mocanet_jax.train import build
from tests.train import tiny

TASK = CopyTask(shortest=1, longest=4, first_longest=2)


@pytest.fixture
def evaluated(monkeypatch):
    """evaluator(**changes to the config), and what every batch was: lengths, tokens and
    slots in the order of evaluation. Every batch scores its mean length as its accuracy."""
    seen = SimpleNamespace(lengths=[], tokens=[], slots=[], segments=[])

    def note(lengths, tokens):
        seen.lengths.append(lengths.tolist())
        seen.tokens.append(tokens.tolist())

    def eval_step(params, model, task, batch, num_slots, segment):
        jax.debug.callback(note, batch.length, batch.tokens, ordered=True)
        seen.slots.append(num_slots)  # once a compilation
        seen.segments.append(segment)
        count = jnp.float32(len(batch.length))
        scores = Scores(2 * count, jnp.sum(batch.length, dtype=float), count, count / 4, count)
        spent = [jnp.float32(x) for x in (2, 3, 4)]
        possible = budget.Flops(*(jnp.float32(x) for x in (4, 4, 4)))
        usage = budget.Usage(*spent, possible, jnp.array([3.0, 1.0]), jnp.array([1.0, 4.0]))
        off_task = OffTask(*(jnp.float32(x) for x in (1, 4, 1, 5)))
        return BatchSums(scores, usage, off_task, jnp.float32(0))

    monkeypatch.setattr(sequence_evaluator, "eval_step", eval_step)

    def make(**changes):
        config = tiny.config(**changes)
        model = build.build_model(config, TASK)
        return sequence_evaluator.SequenceEvaluator(model, TASK, config)

    return make, seen


def test_memory_grows_in_proportion_to_length(evaluated):
    """8 slots for lengths up to 4: 16 for 8, and 11 for 5.5 rounded up."""
    evaluator = evaluated[0]()
    assert [evaluator.enlarged_slots(fit) for fit in (1, 4)] == [None, None]
    assert [evaluator.enlarged_slots(fit) for fit in (5, 8, 9)] == [10, 16, 18]
    odd = evaluated[0](model__memory__num_slots=7)
    assert odd.enlarged_slots(5) == 9  # 8.75


def test_batches_are_as_large_as_the_tokens_allow(evaluated):
    """A length of 4 takes 17 steps: 60 tokens are 3 sequences, and 8 sequences 3 batches.
    Whole batches are run, so that one compilation serves them all."""
    make, seen = evaluated
    result = make(eval__tokens_per_batch=60).validate({})
    jax.effects_barrier()
    assert [len(lengths) for lengths in seen.lengths] == [3, 3, 3]
    assert result["sequences"] == 9
    assert seen.slots == [None], "one compilation"
    assert seen.tokens[0] != seen.tokens[1] != seen.tokens[2] != seen.tokens[0]
    mean = sum(map(sum, seen.lengths)) / 9
    assert result["accuracy"] == pytest.approx(mean), "sums are divided once"


def test_a_sequence_too_long_for_the_tokens_is_run_alone(evaluated):
    make, seen = evaluated
    make(eval__tokens_per_batch=1, eval__validation_sequences=2).validate({})
    jax.effects_barrier()
    assert [len(lengths) for lengths in seen.lengths] == [1, 1]


@pytest.mark.parametrize(
    ("tokens", "steps", "count", "expected"),
    [
        (1000, 300, 8, (3, None)),
        (1000, 300, 2, (2, None)),
        (100, 256, 8, (1, None)),  # not below one chunk
        (1000, 1001, 8, (1, 501)),
        (1000, 3000, 8, (1, 1000)),
        (1, 1024, 8, (1, 256)),
    ],
)
def test_a_sequence_of_more_tokens_than_a_batch_is_read_in_segments(
    tokens, steps, count, expected
):
    """Of even lengths, as few as there can be; else memory grows with the length."""
    assert sequence_evaluator.batches_of(tokens, steps, count) == expected


def test_segments_reach_the_step(evaluated):
    """Lengths of 4 and 300 symbols are 17 and 609 steps."""
    make, seen = evaluated
    make(eval__tokens_per_batch=256, eval__long_lengths=(300,)).test({}, {})
    assert seen.segments == [None, 203], "one compilation for each shape"


@pytest.mark.parametrize(
    "task",
    [
        InductionHeadsTask(shortest=4, longest=4, first_longest=4),
        SelectiveCopyingTask(shortest=4, longest=4, first_longest=4, payload=3),
    ],
    ids=lambda task: type(task).__name__,
)
def test_memory_stays_where_no_more_has_to_be_remembered(task):
    """Otherwise a long evaluation needs memory, and its result says less."""
    config = tiny.config()
    model = build.build_model(config, task)
    evaluator = sequence_evaluator.SequenceEvaluator(model, task, config)
    assert [evaluator.enlarged_slots(fit) for fit in (4, 5, 400)] == [None, 8, 8]


def test_metrics_are_means_and_shares(evaluated):
    result = evaluated[0]().validate({})
    assert result["loss"] == 2
    assert result["exact_match"] == 0.25
    assert result["usage"] == pytest.approx(9 / 12)
    parts = [result[f"usage_{name}"] for name in ("experts", "writes", "reads")]
    assert parts == [0.5, 0.75, 1.0]
    assert [result[f"load_of_expert_{n}"] for n in range(2)] == [0.75, 0.25]
    shares = [result[f"tokens_with_{n}_experts"] for n in range(2)]
    assert shares == pytest.approx([0.2, 0.8])
    assert "task_loss" not in result


def test_every_listed_length_is_tested_with_its_count_and_memory(evaluated):
    """Lengths beyond the range share the longest one's shape and enlarged memory."""
    make, seen = evaluated
    changes = {"eval__lengths": (4, 2), "eval__long_lengths": (8, 6, 2)}
    changes |= {"eval__sequences_per_length": 5, "eval__sequences_per_long_length": 3}
    results = make(**changes).test({}, {})
    jax.effects_barrier()
    assert list(results.by_length) == [2, 4, 6, 8]
    counts = {length: m["sequences"] for length, m in results.by_length.items()}
    assert counts == {2: 5, 4: 5, 6: 3, 8: 3}
    assert {length: m["accuracy"] for length, m in results.by_length.items()} == {
        length: length for length in counts
    }
    over_range, *single = seen.lengths
    assert len(over_range) == results.overall["sequences"] == 8
    assert single == [[2] * 5, [4] * 5, [6] * 3, [8] * 3]
    steps = [len(tokens[0]) for tokens in seen.tokens]
    assert steps == [17, 17, 17, 25, 25]
    assert seen.slots == [None, None, 16], "one compilation for each shape"


def test_the_range_of_the_task_is_covered(evaluated):
    make, seen = evaluated
    make(eval__validation_sequences=64).validate({})
    jax.effects_barrier()
    assert set(seen.lengths[0]) == {1, 2, 3, 4}


def test_no_listed_length_leaves_the_range_alone(evaluated):
    results = evaluated[0](eval__lengths=(), eval__long_lengths=()).test({}, {})
    assert results.by_length == {}
    assert results.overall["sequences"] == 8


def test_validation_is_fixed_and_apart_from_the_final_test(evaluated):
    """Otherwise validations of one run cannot be compared, or the choice of the best
    checkpoint has already seen the test."""
    make, seen = evaluated
    evaluator = make(eval__lengths=(), eval__long_lengths=())
    evaluator.validate({})
    evaluator.validate({})
    evaluator.test({}, {})
    other = make(eval__lengths=(), eval__long_lengths=(), seed=1)
    other.validate({})
    jax.effects_barrier()
    first, second, test, other_seed = seen.tokens
    assert first == second
    assert first != test
    assert first != other_seed
