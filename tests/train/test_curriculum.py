"""The curriculum: lengths grow with what is learned, hardness and pressure wait for it, and a
task that is lost starts again."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.tasks.task import Lengths
from mocanet_jax.train.curriculum import Accuracies, Curriculum, CurriculumState, hard_rows
from tests.train import tiny

TASK = SimpleNamespace(lengths=Lengths(1, 4, 2))
FIXED = SimpleNamespace(lengths=Lengths(1, 4, 4))
FREE = jnp.float32(0.0)


def curriculum(task=TASK, **changes):
    settings = {"accuracy": 0.97, "growth": 1.1, "retreat": 0.8} | changes
    named = {f"train__curriculum__{name}": value for name, value in settings.items()}
    return Curriculum(tiny.config(**named).train.curriculum, task)


def state(longest=4.0, accuracy=1.0, confirmed=0, falls=0):
    running = jnp.float32(accuracy)
    return CurriculumState(
        jnp.float32(longest), running, running, jnp.int32(confirmed), jnp.int32(falls)
    )


def after(accuracies, start, multiplier=FREE, of=None):
    """The state after batches of these accuracies: numbers, or pairs of soft and hard."""
    update = jax.jit((of or curriculum()).update)
    for accuracy in accuracies:
        pair = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy)
        start = update(start, Accuracies(*map(jnp.float32, pair)), multiplier)
    return start


@pytest.mark.parametrize(
    ("accuracy", "longest", "expected"),
    [
        (0.96, 2.0, 2.0),
        (0.97, 2.0, 3.2),
        (1.0, 2.5, 3.75),
        (1.0, 3.0, 4.0),
        (0.8, 4.0, 4.0),
        (0.79, 3.75, 2.5),
        (0.0, 4.0, 3 / 1.1),
        (0.0, 2.5, 2.0),  # the first longest
    ],
)
def test_accuracy_makes_lengths_grow_and_shrink(accuracy, longest, expected):
    """Otherwise long sequences come before short ones are learned, or what is lost at long
    ones, where gradients are of little use, is never found again. The running accuracy is low
    already."""
    found = after([accuracy], state(longest, accuracy=0.0))
    assert float(found.longest) == pytest.approx(expected)


def test_one_bad_batch_is_no_loss():
    """0.8 · 1 + 0.2 · 0.2 is above 0.8; a second one makes 0.712. One good batch ends the
    retreat."""
    once = after([0.2], state(confirmed=7))
    assert float(once.accuracy) == pytest.approx(0.84)
    assert (float(once.longest), int(once.confirmed), int(once.falls)) == (4, 6, 0)
    twice = after([0.2], once)
    assert float(twice.accuracy) == pytest.approx(0.712)
    assert float(twice.longest) == pytest.approx(3 / 1.1)
    assert (int(twice.confirmed), int(twice.falls)) == (0, 1)
    assert float(after([0.9], twice).longest) == pytest.approx(3 / 1.1)


def test_what_is_right_only_softly_grows_but_does_not_harden():
    """Hardening would lose it, since evaluation and the budget need whole steps."""
    found = after(8 * [(1.0, 0.5)], state(2.0, accuracy=0.0))
    assert (float(found.longest), float(found.hardness)) == (4, 0)
    assert float(after(5 * [(1.0, 0.97)], found).hardness) == 1


def test_what_is_right_only_hard_grows_once_it_is_so_for_long():
    """A soft count blurs over a long sequence. But of a few sequences all are right by luck now
    and then: the running accuracy after n batches is 1 − 0.8^n, at least 0.97 from 16 on."""
    start = state(2.0, accuracy=0.0)
    assert float(after(15 * [(0.8, 1.0)], start).longest) == 2
    assert float(after(16 * [(0.8, 1.0)], start).longest) == pytest.approx(3.2)
    assert float(after(15 * [(0.8, 1.0)] + [(0.8, 0.9)], start).longest) == 2


@pytest.mark.parametrize(("batch", "expected"), [(1, 0), (3, 0), (4, 1), (32, 8)])
def test_a_quarter_of_a_batch_is_hard(batch, expected):
    assert hard_rows(batch) == expected


@pytest.mark.parametrize(
    ("longest", "confirmed", "expected"), [(2.0, 0, 0.0), (2.1, 0, 1.0), (4.0, 3, 1.0)]
)
def test_the_first_sequences_are_hard_once_lengths_grow(longest, confirmed, expected):
    """Not before: a search needs slopes, and all of the batch."""
    assert float(curriculum().first_hardness(state(longest, confirmed=confirmed))) == expected


def test_all_are_hard_where_lengths_do_not_grow():
    fixed = curriculum(FIXED)
    assert float(fixed.first_hardness(fixed.initial_state())) == 1


def test_hardness_rises_with_confirmations_and_then_the_budget_presses():
    """Five at the longest lengths make decisions hard, five more let the budget press: either
    at once, or both together, is a shock that an unsure model does not survive."""
    hardness, pressing = [], []
    now = state(longest=3.0)
    for _ in range(12):
        hardness.append(round(float(now.hardness), 5))
        pressing.append(bool(now.pressing))
        now = after([1.0], now)
    assert hardness == [0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1]
    assert pressing == 11 * [False] + [True]
    assert int(after(5 * [1.0], now).confirmed) == 10


@pytest.mark.parametrize(
    ("confirmed", "expected"), [(0, 0), (1, 0), (4, 3), (5, 5), (6, 5), (10, 10)]
)
def test_a_stage_is_not_left_by_noise(confirmed, expected):
    """A batch below the threshold takes a confirmation away, within its stage: otherwise
    decisions flicker between hard and soft, or good batches among as many others harden what
    is half learned."""
    assert int(after([0.9], state(confirmed=confirmed)).confirmed) == expected


def test_a_lost_task_is_soft_and_slower():
    """Soft and unpressed at once. The next attempt takes twice as many confirmations, with half
    the rate of λ."""
    lost = after([0.3, 0.3, 0.3], state(confirmed=10), jnp.float32(0.0))
    assert (float(lost.hardness), bool(lost.pressing), int(lost.falls)) == (0, False, 1)
    assert (int(lost.patience), float(lost.pace)) == (10, 0.5)
    back = after(30 * [1.0], lost)
    assert (float(back.longest), float(back.hardness), bool(back.pressing)) == (4, 1, True)
    assert int(back.falls) == 1


@pytest.mark.parametrize(
    ("accuracy", "multiplier", "falls", "is_lost"),
    [
        (0.5, 0.0, 0, True),
        (0.5, 3.0, 0, False),  # what a budget below the need does
        (0.3, 3.0, 0, True),  # below half of 0.8: more than such a budget takes
        (0.3, 3.0, 1, True),
        (0.3, 3.0, 2, False),  # but it does, again and again
        (0.3, 0.0, 2, True),
    ],
)
def test_a_budget_below_the_need_presses_on(accuracy, multiplier, falls, is_lost):
    """Otherwise it would never be met."""
    patience = 5 * 2**falls
    start = state(accuracy=accuracy, confirmed=2 * patience, falls=falls)
    found = after([accuracy], start, jnp.float32(multiplier))
    assert int(found.falls) == falls + is_lost
    assert bool(found.pressing) != is_lost
    assert (float(found.longest) < 4) == is_lost


def test_a_budget_that_presses_on_does_so_at_full_pace():
    assert [float(state(falls=falls).pace) for falls in range(4)] == [1, 0.5, 1, 1]
    assert [int(state(falls=falls).patience) for falls in range(4)] == [5, 10, 20, 20]


def test_no_retreat_where_none_is_configured():
    """Lengths stay, whatever accuracy is."""
    found = after(5 * [0.0], state(confirmed=10), of=curriculum(retreat=0.0))
    assert (float(found.longest), int(found.falls)) == (4, 0)


def test_a_task_without_growing_lengths_is_hard_and_pressed():
    """Texts have the lengths that they have."""
    fixed = curriculum(FIXED)
    start = fixed.initial_state()
    assert (float(start.hardness), bool(start.pressing), float(start.pace)) == (1, True, 1)
    found = after([0.0, 0.0], start, of=fixed)
    assert jax.tree.map(float, found) == jax.tree.map(float, start)


def test_training_starts_with_short_lengths_soft_and_unpressed():
    start = curriculum().initial_state()
    assert (float(start.longest), float(start.hardness), bool(start.pressing)) == (2, 0, False)
    found = after(3 * [0.0], start)
    assert (float(found.longest), int(found.falls)) == (2, 0), "nothing was there to be lost"


def test_bounds_are_whole_numbers():
    assert [int(x) for x in curriculum(shortest=2).lengths(state(longest=3.9))] == [2, 3]


def test_a_loss_is_reported_once():
    before, lost = state(confirmed=10), after([0.0, 0.0], state(confirmed=10))
    on_host = lambda s: CurriculumState(*(part.item() for part in s))
    line = curriculum().news(on_host(before), on_host(lost))
    assert line == (
        "the task was lost: training accuracy fell to 64%, so decisions are soft again, the "
        "budget does not press, and lengths go to 3"
    )
    assert curriculum().news(on_host(lost), on_host(lost)) is None


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (state(), None),
        (state(accuracy=0.9), None),
        (
            state()._replace(hard_accuracy=jnp.float32(0.42)),
            "the task is learned with soft decisions only: training accuracy is 42% with hard "
            "ones",
        ),
        (state(accuracy=0.42), "the task is lost: training accuracy is 42%"),
        (
            state(2.2, accuracy=0.42),
            "the task is not learned: training accuracy is 42% at lengths to 2 of 4",
        ),
    ],
)
def test_a_run_ends_with_what_it_has_not_learned(end, line):
    end = CurriculumState(*(part.item() for part in end))
    assert curriculum().verdict(end) == line
    assert curriculum(FIXED).verdict(end) is None
