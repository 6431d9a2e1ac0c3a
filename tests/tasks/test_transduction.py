"""Tasks of input, marker and answer: what a sequence consists of, that its targets are those of
the task, and that scores distinguish solving from guessing.

Axes: B batch, T time, V vocabulary.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.tasks.languages.parity_check import ParityCheckTask
from mocanet_jax.tasks.languages.transduction import BLANK, FIRST, MARKER, NOTHING, symbols_at
from mocanet_jax.tasks.synthetic.associative_recall import AssociativeRecallTask
from mocanet_jax.tasks.synthetic.priority_sort import PrioritySortTask
from mocanet_jax.tasks.synthetic.repeat_copy import RepeatCopyTask
from mocanet_jax.tasks.synthetic.sequence import score
from tests.tasks.solvers import CASES, LENGTHS, LONGEST, SHORTEST

B = 256
NAMES = list(CASES)
SCORE = jax.jit(lambda predicted, batch: score(50.0 * jax.nn.one_hot(predicted, 200), batch))


@lru_cache
def sampler(name):
    """Compiled once a task; bounds of the lengths are traced."""
    return jax.jit(CASES[name].task.sample, static_argnums=(1, 3))


@lru_cache
def drawn(name, seed=0, shortest=SHORTEST, longest=LONGEST):
    """A batch as numpy arrays."""
    return jax.device_get(sampler(name)(jax.random.key(seed), B, (shortest, longest), LONGEST))


def words_of(case, tokens):
    return [case.words[token - FIRST] for token in tokens]


def tokens_of(case, words):
    return [FIRST + case.words.index(word) for word in words]


def solved(case, tokens, mask):
    """The prediction of the solver at each step, int [B, T], from input and mask alone."""
    predicted = np.full(tokens.shape, BLANK)
    for row in range(len(tokens)):
        seen = tokens[row, mask[row]].tolist()
        marker = seen.index(MARKER)
        answer = tokens_of(case, case.solve(words_of(case, seen[:marker])))
        assert seen[marker + 1 :] == [BLANK] * len(answer), "answer and mask end together"
        predicted[row, marker + 1 : marker + 1 + len(answer)] = answer
    return predicted


@pytest.mark.parametrize("name", NAMES)
def test_an_exact_solver_scores_everything(name):
    """Otherwise no model can reach 100 %, or targets are not those of the task: a target that
    depends on padding, for instance, cannot be predicted."""
    batch = drawn(name)
    means = SCORE(solved(CASES[name], batch.tokens, batch.mask), batch).means()
    assert float(means["accuracy"]) == 1.0
    assert float(means["exact_match"]) == 1.0
    assert float(means["task_loss"]) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_guesser_is_at_chance(name):
    """Otherwise accuracy is earned without reading the input. Guesses are uniform over the
    words of answers, so that one of so many is right whatever the targets are."""
    case, batch = CASES[name], drawn(name)
    choices = tokens_of(case, case.answers)
    predicted = np.random.default_rng(0).choice(choices, batch.tokens.shape)
    sums = SCORE(predicted, batch)
    chance, scored = 1 / len(choices), float(sums.scored)
    error = np.sqrt(chance * (1 - chance) / scored)
    assert abs(float(sums.correct) / scored - chance) < 5 * error
    assert np.isin(batch.targets[batch.scored], choices).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_input_marker_and_blanks_for_the_answer(name):
    """Otherwise the input is seen while it is scored, or padding is computed and counted."""
    task, batch = CASES[name].task, drawn(name)
    assert batch.tokens.shape == batch.targets.shape == (B, task.num_steps(LONGEST))
    assert batch.tokens.dtype == batch.targets.dtype == batch.length.dtype == np.int32
    assert batch.scored.dtype == batch.mask.dtype == bool
    marker = task.input_length(batch.length)[:, None]
    answer = batch.scored.sum(axis=1, keepdims=True)
    assert (answer >= 1).all()
    assert (answer[:, 0] <= task.answer_length(batch.length)).all()
    step = np.arange(batch.tokens.shape[1])
    np.testing.assert_array_equal(batch.tokens == MARKER, step == marker)
    np.testing.assert_array_equal(batch.tokens >= FIRST, step < marker)
    np.testing.assert_array_equal(batch.scored, (step > marker) & (step <= marker + answer))
    np.testing.assert_array_equal(batch.mask, step <= marker + answer)
    np.testing.assert_array_equal(batch.targets >= FIRST, batch.scored)
    assert (batch.targets[~batch.scored] == BLANK).all()
    assert task.vocab_size == FIRST + len(CASES[name].words)
    assert max(batch.tokens.max(), batch.targets.max()) < task.vocab_size
    assert task.blank == BLANK
    assert task.marker == MARKER


@pytest.mark.parametrize("name", NAMES)
def test_lengths_fill_their_inclusive_range(name):
    """Otherwise training or evaluation leaves out a length, or draws one out of range. Of
    256 draws all nine lengths are missed once in 10^12 batches."""
    assert set(drawn(name).length.tolist()) == set(range(SHORTEST, LONGEST + 1))
    for length in (SHORTEST, 4, LONGEST):
        assert set(drawn(name, 1, length, length).length.tolist()) == {length}


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_length_never_takes_fewer_steps(name):
    """Otherwise a batch that fits the longest does not fit all."""
    steps = [CASES[name].task.num_steps(length) for length in range(1, 200)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("name", NAMES)
def test_examples_worked_out_by_hand(name):
    """Of several lengths in one batch, so that each is padded; by the task and by its solver,
    which is compared with the task everywhere else."""
    case = CASES[name]
    task, width = case.task, case.task.input_length(LONGEST)
    inputs = [example.split() for example in case.examples]
    answers = [answer.split() for answer in case.examples.values()]
    assert [case.solve(words) for words in inputs] == answers
    length = [
        next(n for n in range(1, LONGEST + 1) if task.input_length(n) == len(words))
        for words in inputs
    ]
    numbers = lambda words: [case.words.index(word) for word in words]
    symbols = [numbers(words) + [NOTHING] * (width - len(words)) for words in inputs]
    answer = jax.jit(task.answer)(jnp.array(symbols), jnp.array(length)[:, None])
    assert answer.dtype == jnp.int32
    assert answer.shape[1] == task.answer_length(LONGEST)
    for predicted, words in zip(answer.tolist(), answers, strict=True):
        assert predicted == numbers(words) + [NOTHING] * (len(predicted) - len(words))


def test_a_batch_is_a_pure_function_of_its_key_and_lengths():
    """Otherwise a resumed run sees other data, or every step sees the same; lengths may be
    numbers of Python or traced."""
    batch = drawn("parity_check", 3, 2, 5)
    plain = CASES["parity_check"].task.sample(jax.random.key(3), B, (2, 5), LONGEST)
    jax.tree.map(np.testing.assert_array_equal, batch, jax.device_get(plain))
    assert (batch.tokens != drawn("parity_check", 4, 2, 5).tokens).any()


def many(name, length, batches=20):
    """Inputs of one length as words, B a batch, and their answers."""
    case, inputs, answers = CASES[name], [], []
    for seed in range(100, 100 + batches):
        batch = drawn(name, seed, length, length)
        size = case.task.input_length(length)
        inputs += [words_of(case, row) for row in batch.tokens[:, :size]]
        answers += [
            words_of(case, row[scored])
            for row, scored in zip(batch.targets, batch.scored, strict=True)
        ]
    return inputs, answers


def assert_uniform(values, choices):
    """Each of the choices as often as the others, and nothing else, within five standard
    deviations."""
    counts = [list(values).count(choice) for choice in choices]
    total, share = len(values), 1 / len(choices)
    assert sum(counts) == total
    error = np.sqrt(total * share * (1 - share))
    assert max(abs(np.array(counts) - total * share)) < 5 * error


@pytest.mark.parametrize("name", ["parity_check", "even_pairs", "missing_duplicate"])
def test_classes_are_balanced(name):
    """Otherwise the more frequent answer beats chance."""
    _, answers = many(name, 4)
    assert_uniform([answer for (answer,) in answers], ["0", "1"])


def test_symbols_and_moves_and_digits_are_uniform():
    moves, digits = (np.ravel(many(n, 3)[0]) for n in ("cycle_navigation", "bucket_sort"))
    assert_uniform(moves.tolist(), ["<", "=", ">"])
    assert_uniform(digits.tolist(), ["0", "1", "2", "3", "4"])
    expressions = np.array(many("modular_arithmetic", 4)[0])
    assert expressions.shape[1] == 3, "an expression has an odd number of symbols"
    assert_uniform(expressions[:, ::2].ravel().tolist(), ["0", "1", "2", "3", "4"])
    assert_uniform(expressions[:, 1].tolist(), ["+", "-", "*"])


def test_stacks_have_every_height_and_actions_follow():
    inputs, _ = many("stack_manipulation", 5)
    heights = [sum(word in ("0", "1") for word in words) for words in inputs]
    assert_uniform(heights, [1, 2, 3, 4])
    for words, height in zip(inputs, heights, strict=True):
        assert not {"0", "1"} & set(words[height:])
    assert_uniform([words[-1] for words in inputs], ["pop", "push0", "push1"])


def test_the_plus_and_the_hidden_place_are_anywhere():
    sums, _ = many("binary_addition", 6)
    assert_uniform([words.index("+") for words in sums], [1, 2, 3, 4])
    assert {words.count("+") for words in sums} == {1}
    copies, _ = many("missing_duplicate", 5)
    assert_uniform([words.index("_") for words in copies], range(6))


def test_items_differ_and_any_but_the_last_is_queried():
    """Otherwise a query has two answers, or none."""
    inputs, _ = many("associative_recall", 4)
    queries = []
    for words in inputs:
        listed, query = " ".join(words).split(" ? ")
        items = listed.removeprefix("; ").split(" ; ")
        assert len(set(items)) == 4
        queries.append(items.index(query))
    assert_uniform(queries, [0, 1, 2])


def test_priorities_differ_and_repeats_are_uniform():
    inputs, _ = many("priority_sort", 8, batches=2)
    assert {len(set(words[1::2])) for words in inputs} == {8}
    repeats = [words[-1] for words in many("repeat_copy", 2)[0]]
    assert_uniform(repeats, ["x1", "x2", "x3"])


@pytest.mark.parametrize(("longest", "repeats"), [(1, 1), (2, 2), (4, 3)])
def test_training_begins_with_the_first_repeats_of_every_answer(longest, repeats):
    """Of payloads of 1 to 4, repeated up to 3 times: what grows with `longest` is answers. All
    that is left out is behind the first symbol after the last repeat that is left."""
    task = RepeatCopyTask(shortest=1, longest=4, first_longest=1, max_repeats=3)
    key, lengths = jax.random.key(0), (1, jnp.int32(longest))
    batch = jax.device_get(task.batches.on_batch(lambda batch: batch, (), (), key, B, lengths))
    whole = jax.device_get(task.sample(key, B, (1, 4), 4))
    assert set(batch.length) == {1, 2, 3, 4}
    queries = np.array([row[n] for row, n in zip(whole.tokens, whole.length, strict=True)])
    answers = (queries - FIRST - 125 + 1) * whole.length + 1
    expected = np.minimum(answers, repeats * whole.length + 1)
    np.testing.assert_array_equal(batch.scored.sum(axis=1), expected)
    np.testing.assert_array_equal(batch.mask.sum(axis=1), whole.length + 2 + expected)
    for field in ("tokens", "targets", "length"):
        np.testing.assert_array_equal(getattr(batch, field), getattr(whole, field))
    assert not np.any(batch.scored & ~whole.scored)
    assert not np.any(batch.mask & ~whole.mask)


def test_lists_of_twenty_items_can_be_drawn():
    """Shapes only: 20 items and a query of 4 symbols each, a marker and 3 symbols of answer."""
    task = AssociativeRecallTask(shortest=2, longest=6, first_longest=2)
    batch = jax.eval_shape(lambda key: task.sample(key, 3, (20, 20), 20), jax.random.key(0))
    assert batch.tokens.shape == (3, 21 * 4 + 1 + 3)


def test_places_outside_a_string_hold_nothing():
    """Otherwise a negative place counts from the end."""
    places = jnp.array([[0, 2, 3, -1, -3]])
    predicted = symbols_at(jnp.array([[7, 8, 9]]), places)
    assert predicted.tolist() == [[7, 9, NOTHING, NOTHING, NOTHING]]


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (ParityCheckTask, {"longest": 0}, "lengths need 1 ≤ shortest ≤ longest"),
        (ParityCheckTask, {"first_longest": 10}, "lengths need 1 ≤ shortest"),
        (RepeatCopyTask, {"max_repeats": 0}, "max_repeats must be at least 1, not 0"),
        (PrioritySortTask, {"longest": 65}, "lengths end at 64, longest is 65"),
    ],
)
def test_impossible_settings_are_refused(task, settings, message):
    with pytest.raises(ValueError, match=message):
        task(**(LENGTHS | settings))
