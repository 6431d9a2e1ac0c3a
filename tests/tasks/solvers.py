"""The tasks solved in plain Python, from what a model sees: words in, words out.

They share nothing with the package but the order of its words, and no target.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from mocanet_jax.tasks.languages.binary_addition import BinaryAdditionTask
from mocanet_jax.tasks.languages.bucket_sort import BucketSortTask
from mocanet_jax.tasks.languages.cycle_navigation import CycleNavigationTask
from mocanet_jax.tasks.languages.duplicate_string import DuplicateStringTask
from mocanet_jax.tasks.languages.even_pairs import EvenPairsTask
from mocanet_jax.tasks.languages.missing_duplicate import MissingDuplicateTask
from mocanet_jax.tasks.languages.modular_arithmetic import ModularArithmeticTask
from mocanet_jax.tasks.languages.odds_first import OddsFirstTask
from mocanet_jax.tasks.languages.parity_check import ParityCheckTask
from mocanet_jax.tasks.languages.reverse_string import ReverseStringTask
from mocanet_jax.tasks.languages.stack_manipulation import StackManipulationTask
from mocanet_jax.tasks.languages.transduction import TransductionTask
from mocanet_jax.tasks.synthetic.associative_recall import AssociativeRecallTask
from mocanet_jax.tasks.synthetic.priority_sort import PrioritySortTask
from mocanet_jax.tasks.synthetic.repeat_copy import RepeatCopyTask
from mocanet_jax.tasks.synthetic.selective_copying import SelectiveCopyingTask

Words = list[str]

SHORTEST, LONGEST = 1, 9
LENGTHS = {"shortest": SHORTEST, "longest": LONGEST, "first_longest": 2}


class Case(NamedTuple):
    """words: of the task's symbols, in their order. answers: those that answers consist of.
    solve: an input → its answer. examples: inputs and their answers, worked out by hand.
    """

    task: TransductionTask
    words: Words
    answers: Words
    solve: Callable[[Words], Words]
    examples: dict[str, str]


def numbers(count: int) -> Words:
    return [str(n) for n in range(count)]


def parity_check(bits):
    return [str(bits.count("1") % 2)]


def even_pairs(bits):
    changes = sum(one != other for one, other in pairwise(bits))
    return [str(changes % 2)]


def cycle_navigation(moves):
    place = 0
    for move in moves:
        if move == ">":
            place = 0 if place == 4 else place + 1
        if move == "<":
            place = 4 if place == 0 else place - 1
    return [str(place)]


def modular_arithmetic(expression):
    return [str(eval("".join(expression)) % 5)]


def stack_manipulation(symbols):
    stack = []
    for symbol in symbols:
        if symbol != "pop":
            stack.append(symbol[-1])
        elif stack:
            stack.pop()
    return [*reversed(stack), "E"]


def missing_duplicate(symbols):
    half = len(symbols) // 2
    pairs = zip(symbols[:half], symbols[half:], strict=True)
    ((known,),) = [set(pair) - {"_"} for pair in pairs if "_" in pair]
    return [known]


def binary_addition(symbols):
    terms = "".join(symbols).split("+")
    total = sum(int(term[::-1], 2) for term in terms if term)
    return [*f"{total:b}"[::-1], "E"]


def repeat_copy(symbols):
    *payload, times = symbols
    return payload * int(times[1:]) + ["E"]


def associative_recall(symbols):
    listed, query = " ".join(symbols).split(" ? ")
    items = listed.removeprefix("; ").split(" ; ")
    following = dict(pairwise(items)) or {query: query}  # a single item is its own answer
    return following[query].split()


def selective_copying(symbols):
    return [symbol for symbol in symbols if symbol != "-"]


def priority_sort(symbols):
    pairs = sorted((int(p[1:]), s) for s, p in zip(symbols[::2], symbols[1::2], strict=True))
    return [symbol for _, symbol in reversed(pairs)]


BITS = numbers(2)

CASES = {
    "parity_check": Case(
        ParityCheckTask(**LENGTHS),
        BITS,
        BITS,
        parity_check,
        {"1 0 1 1": "1", "0": "0", "1": "1", "1 1": "0", "0 0 0 0 0 0 0 0 1": "1"},
    ),
    "even_pairs": Case(
        EvenPairsTask(**LENGTHS),
        BITS,
        BITS,
        even_pairs,
        {"0 1 1 0 1": "1", "1": "0", "0 1 0": "0", "1 0": "1", "1 1 1 1 1 1 1 1 1": "0"},
    ),
    "cycle_navigation": Case(
        CycleNavigationTask(**LENGTHS),
        [*numbers(5), "<", "=", ">"],
        numbers(5),
        cycle_navigation,
        {"> > < = >": "2", "<": "4", "=": "0", "< < < < < < = < >": "4"},  # -7 + 1 = -6
    ),
    "modular_arithmetic": Case(
        ModularArithmeticTask(**LENGTHS),
        [*numbers(5), "+", "-", "*"],
        numbers(5),
        modular_arithmetic,
        {
            "1 + 2 * 3 - 4": "3",
            "4": "4",
            "1 - 1 - 1": "4",
            "0 - 2 * 3 * 3": "2",  # -18 + 20
            "2 - 3 * 4 + 2 * 2": "4",  # 2 - 12 + 4 = -6
        },
    ),
    "reverse_string": Case(
        ReverseStringTask(**LENGTHS),
        BITS,
        BITS,
        lambda bits: bits[::-1],
        {"0 1 1": "1 1 0", "1": "1", "0 0 0 0 0 0 1 1 1": "1 1 1 0 0 0 0 0 0"},
    ),
    "stack_manipulation": Case(
        StackManipulationTask(**LENGTHS),
        ["0", "1", "pop", "push0", "push1", "E"],
        ["0", "1", "E"],
        stack_manipulation,
        {
            "0 1 1 pop push0": "0 1 0 E",
            "1": "1 E",
            "1 pop": "E",
            "1 pop pop push1": "1 E",
            "0 0 0 0 0 0 0 0 push1": "1 0 0 0 0 0 0 0 0 E",
        },
    ),
    "duplicate_string": Case(
        DuplicateStringTask(**LENGTHS),
        BITS,
        BITS,
        lambda bits: bits * 2,
        {"0 1 1": "0 1 1 0 1 1", "1": "1 1", "0 0 0 0 0 0 0 0 1": "0 0 0 0 0 0 0 0 1 " * 2},
    ),
    "odds_first": Case(
        OddsFirstTask(**LENGTHS),
        BITS,
        BITS,
        lambda bits: bits[::2] + bits[1::2],
        {
            "0 1 1 0 1": "0 1 1 1 0",
            "1": "1",
            "0 1": "0 1",
            "0 0 1 1 0 1 0 1": "0 1 0 0 0 1 1 1",
        },
    ),
    "missing_duplicate": Case(
        MissingDuplicateTask(**LENGTHS),
        ["0", "1", "_"],
        BITS,
        missing_duplicate,
        {"0 1 1 0 _ 1": "1", "_ 0": "0", "1 _": "1", "0 _ 0 0 0 1 0 0": "1"},
    ),
    "binary_addition": Case(
        BinaryAdditionTask(**LENGTHS),
        ["0", "1", "+", "E"],
        ["0", "1", "E"],
        binary_addition,
        {
            "1 0 1 + 1 1": "0 0 0 1 E",  # 5 + 3
            "0 + 0": "0 E",
            "1": "1 E",
            "1 +": "1 E",
            "1 1 1 1 1 1 1 + 1": "0 0 0 0 0 0 0 1 E",  # 127 + 1
            "1 + 0 1 0 0": "1 1 E",  # 1 + 2, with zeros above
        },
    ),
    "bucket_sort": Case(
        BucketSortTask(**LENGTHS),
        numbers(5),
        numbers(5),
        sorted,
        {"3 0 4 0": "0 0 3 4", "2": "2", "4 4 4 3 3 3 2 2 0": "0 2 2 3 3 3 4 4 4"},
    ),
    "repeat_copy": Case(
        RepeatCopyTask(**LENGTHS, max_repeats=3),
        [*numbers(125), "x1", "x2", "x3", "E"],
        [*numbers(125), "E"],
        repeat_copy,
        {"5 9 x3": "5 9 5 9 5 9 E", "124 x1": "124 E", "7 7 0 x2": "7 7 0 7 7 0 E"},
    ),
    "associative_recall": Case(
        AssociativeRecallTask(**LENGTHS),
        [*numbers(64), ";", "?"],
        numbers(64),
        associative_recall,
        {
            "; 5 9 3 ; 7 7 1 ; 2 9 9 ? 7 7 1": "2 9 9",
            "; 5 9 3 ; 5 9 4 ; 9 3 5 ? 5 9 3": "5 9 4",
            "; 0 63 0 ? 0 63 0": "0 63 0",
        },
    ),
    "selective_copying": Case(
        SelectiveCopyingTask(**LENGTHS, payload=4),
        [*numbers(14), "-"],
        numbers(14),
        selective_copying,
        {"- 5 - - 9 3 - - 3": "5 9 3 3", "13": "13", "0 1": "0 1", "- 0 1 2 3": "0 1 2 3"},
    ),
    "priority_sort": Case(
        PrioritySortTask(**LENGTHS),
        [*numbers(125), *(f"p{n}" for n in range(64))],
        numbers(125),
        priority_sort,
        {"5 p2 9 p7 3 p4": "9 3 5", "8 p0": "8", "6 p63 6 p0 124 p62": "6 124 6"},
    ),
}


def multi_query_recall(tokens: list[int], first_value: int) -> list[int]:
    """The answer at each step: the value of the key that stands there, -1 where it has none.

    A key's value is what follows it where it is met first; keys stand at even steps.
    """
    values, answers = {}, []
    for step, token in enumerate(tokens):
        answers.append(-1 if step % 2 else values.get(token, -1))
        key = tokens[step - 1]
        if step % 2 and token >= first_value > key:
            values.setdefault(key, token)
    return answers


def permutation_words(word: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """All products of permutations, given as images of 0 to 4: where each place is after the
    first, the second, … has moved it."""
    where, products = [0, 1, 2, 3, 4], []
    for images in word:
        for start in range(5):
            where[start] = images[where[start]]
        products.append(tuple(where))
    return products
