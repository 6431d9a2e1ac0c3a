"""What the page says of words: each in its row, with what it used, whatever it holds."""

import re

import numpy as np
import pytest

from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.inference.predictor import Explanation
from mocanet_jax.report import word_table
from mocanet_jax.report.pictures import PARTS
from tests.cli.fake_chat import CLASSES, prediction


def explained(words=("good", "film"), influence=(0.3, -0.1), **changes):
    """The first word uses expert 2, writes slot 5 and reads nothing; the others use nothing."""
    count = len(words)
    nothing = np.full((1, count, 1), -1)
    first = lambda place: np.where(np.arange(count)[None, :, None] == 0, place, nothing)
    share = np.zeros(count)
    share[0] = 0.25
    spent = Spending(share, share, np.zeros(count))
    whole = prediction(words=words)
    whole = Explanation(whole, np.array(influence), first(2), first(5), nothing, spent)
    return whole._replace(**changes)


def answer(explanation, multiplier=3.0):
    return word_table.answer(explanation, CLASSES, multiplier, 0.0123)


def rows(page):
    return re.findall(r"<tr><td>.*?</tr>", page)


def chips(row):
    """(part or closed, name) of each."""
    return re.findall(r'<span class="chip (\w+)"[^>]*>(.*?)</span>', row)


def test_the_answer_has_class_usage_multiplier_and_time():
    """These are what the slider moves."""
    page = answer(explained())
    assert "<h3>positive, 95.0%</h3>" in page
    for number, name in (
        ("25 %", "of the full compute"),
        ("3.0", "λ, in logits"),
        ("12 ms", "time of this answer"),
    ):
        assert f"<b>{number}</b><span>{name}</span>" in page


def test_a_row_has_what_its_word_used():
    """A closed gate that is drawn as slot −1 would be taken for one."""
    first, second = rows(answer(explained()))
    assert chips(first) == [("experts", "2"), ("writes", "5"), ("closed", "·")]
    assert chips(second) == [("closed", "·")] * 3
    assert f'<i style="width:50.0%;background:{PARTS["writes"]}">' in first
    assert ">+30.0<" in first
    assert ">-10.0<" in second


def test_nothing_spent_is_no_division_by_zero():
    zero = np.zeros(2)
    page = answer(explained(spending=Spending(zero, zero, zero), influence=(0.0, 0.0)))
    assert "<b>0 %</b>" in page
    assert "compute, to 0 %" in page  # and not to the 1e-07 % that bars are divided by
    assert "nan" not in page


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0124, "12 ms"), (9.9, "9900 ms"), (88.7, "89 s")]
)
def test_a_time_is_told_in_the_unit_a_person_reads(seconds, shown):
    """An answer that waited for compilation took "88654 ms"."""
    assert word_table.numbers(0.5, 0.0, seconds)["time of this answer"] == shown


def test_a_model_without_memory_has_no_column_for_it():
    page = answer(explained(slots=None, read_slots=None))
    assert "written slot" not in page
    assert [len(chips(row)) for row in rows(page)] == [1, 1]


def test_words_are_text_and_no_markup():
    """A page that runs what is typed runs what is pasted."""
    page = answer(explained(words=("<img src=x onerror=alert(1)>", "film")))
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 2


def test_of_a_long_text_the_words_of_most_influence_are_shown():
    """Hundreds of rows of nothing hide the few that count; they stay in the text's order."""
    words = [f"w{i}" for i in range(60)]
    influence = np.linspace(0, 0.1, 60)[::-1]
    page = answer(explained(words=words, influence=influence))
    shown = [re.match(r"<tr><td>(\w+)", row)[1] for row in rows(page)]
    assert shown == words[: word_table.SHOWN_WORDS]
    assert "The 40 of 60 words of most influence" in page
