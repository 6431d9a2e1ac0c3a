"""The walk over memory: marks at the steps and slots of accesses, and nothing elsewhere."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mocanet_jax.report import memory_walk
from mocanet_jax.report.memory_walk import CELL, LEFT, TOP
from mocanet_jax.report.pictures import BLUE, ORANGE, RED
from mocanet_jax.report.sequence_pictures import Answered, MemoryView

TOKENS, TARGETS = np.array([7, 8, 0, 126, 0, 0]), np.array([0, 0, 0, 0, 7, 8])
T, S = len(TOKENS), 5


def sequence(predictions=TARGETS):
    return Answered(TOKENS, TARGETS, np.asarray(predictions), TARGETS > 0, 0, 126)


def view(pointers=True):
    """Writes slots 1 and 2 at steps 0 and 1, reads them at steps 4 and 5."""
    write, read = np.zeros((2, 1, S, T))
    write[0, 1, 0] = write[0, 2, 1] = read[0, 1, 4] = read[0, 2, 5] = 1
    read[0, 3, 2] = 1  # with a closed gate
    writes, reads = write.any(axis=1).T, np.array([[0, 0, 0, 0, 1, 1]]).T > 0
    at = lambda *slots: np.array(slots, float)[:, None] if pointers else None
    return MemoryView(
        sequence(),
        write,
        read,
        writes.astype(float),
        writes,
        reads,
        at(1, 2, 2, 2, 2, 2),
        at(0, 0, 0, 0, 1, 2),
        None,
        0,
        "layer 1",
    )


def walk(views, answered=None, name=str):
    return memory_walk.walk(views, answered or sequence(), name, {"λ": "1.0"})


def pictures(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page)]


def squares(picture, colour):
    """(step, row) of each of full height."""
    return {
        (int((float(s.get("x")) - LEFT) // CELL), int((float(s.get("y")) - TOP) // CELL))
        for s in picture.iter("rect")
        if s.get("fill") == colour
    }


def test_accesses_are_marked_where_they_happen():
    """A read whose gate is closed is none; slots beyond the last one used are left out."""
    _, memory = pictures(walk([view()]))
    assert squares(memory, BLUE) == {(0, 1), (1, 2)}
    assert squares(memory, ORANGE) == {(4, 1), (5, 2)}
    assert [label.text for label in memory.iter("text")] == ["slot 0", "slot 2"]
    assert "memory: 2 writes and 2 reads in 6 steps" in walk([view()])


def test_dots_follow_the_pointers():
    _, memory = pictures(walk([view()]))
    write, read = memory.iter("circle")
    rows = lambda dot: [(float(y) - TOP) // CELL for y in dot[1].get("values").split(";")]
    assert (write.get("fill"), rows(write)) == (BLUE, [1, 2, 2, 2, 2, 2])
    assert (read.get("fill"), rows(read)) == (ORANGE, [0, 0, 0, 0, 1, 2])


def test_slots_below_slot_0_are_beside_it():
    """A write at slot 0 that touches its neighbours had a row for every slot up to the last."""
    touching = view()
    write = np.zeros((1, 64, T))
    write[0, [63, 0, 1], 0] = 0.3, 0.4, 0.3
    strength, closed = np.ones((T, 1)), np.zeros((T, 1), bool)
    touching = touching._replace(
        write_weights=write, read_weights=0 * write, strength=strength, reads=closed
    )
    pointers = {"write_pointer": np.zeros((T, 1)), "read_pointer": None}
    _, memory = pictures(walk([touching._replace(**pointers)]))
    assert squares(memory, BLUE) == {(0, 0), (0, 1), (0, 2)}
    assert [label.text for label in memory.iter("text")] == ["slot 0"]
    (dot,) = memory.iter("circle")
    assert (float(dot.get("cy")) - TOP) // CELL == 1


def test_heads_without_pointers_have_no_dots():
    _, memory = pictures(walk([view(pointers=False)]))
    assert not list(memory.iter("circle"))


def test_a_wrong_symbol_is_red_in_the_answer_and_in_the_picture():
    page = walk([view()], sequence([0, 0, 0, 0, 7, 9]))
    symbols, _ = pictures(page)
    assert squares(symbols, RED) == {(5, 1)}
    assert f'<h3>7<span style="color:{RED}">9</span></h3>' in page
    assert "1 of 2 scored symbols correct" in page


@pytest.mark.parametrize("layers", [1, 2])
def test_every_head_of_every_layer_has_a_picture(layers):
    page = walk([view()._replace(layer=f"layer {n + 1}") for n in range(layers)])
    assert len(pictures(page)) == 1 + layers
    assert ("layer 2, head 0" in page) == (layers == 2)


def test_symbols_are_text_and_no_markup():
    page = walk([view()], name=lambda symbol: "<" if symbol == 7 else "&")
    assert "<h3>&lt;&amp;</h3>" in page
    pictures(page)  # which parses
