"""Pictures of sequences: complete PNG files that show their data and leave nothing else."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.report import sequence_pictures as pictures
from mocanet_jax.report.pictures import PARTS
from tests.report.drawing import axes_of, drawn

BLANK, MARKER = 0, 126


def copy_view(slots=16, start=0, wrong=0):
    """What a solved copy of 8 symbols looks like: write 8 slots in order, then read them."""
    payload = np.arange(11, 19)
    tokens = np.concatenate([payload, np.full(3, BLANK), [MARKER], np.full(8, BLANK)])
    targets = np.concatenate([np.full(12, BLANK), payload])
    step = np.arange(len(tokens))
    pointers = start + np.stack([step.clip(max=7), (step - 12).clip(min=0)])[..., None]
    weights = (pointers % slots == np.arange(slots)).swapaxes(1, 2)[:, None].astype(float)
    predictions = targets.copy()
    predictions[12 : 12 + wrong] += 1
    every = np.ones((len(tokens), 1), bool)
    return pictures.MemoryView(
        sequence=pictures.Answered(tokens, targets, predictions, step >= 12, BLANK, MARKER),
        write_weights=weights[0],
        read_weights=weights[1],
        strength=(step < 8)[:, None].astype(float),
        writes=every & (step < 8)[:, None],
        reads=every,
        write_pointer=pointers[0],
        read_pointer=pointers[1],
        experts=np.stack([tokens % 4, (tokens + 1) % 4], axis=1),
        num_experts=4,
        layer="layer 0",
    )


def with_sequence(**changes):
    view = copy_view()
    return view._replace(sequence=view.sequence._replace(**changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def test_accuracy_by_length_shows_its_data(path):
    accuracy, exact = {10: 1.0, 60: 0.99, 500: 0.9}, {10: 1.0, 60: 0.9, 500: 0.2}
    one, other, alone = (
        drawn(pictures.accuracy_by_length, *data, (10, 60), path=path)
        for data in ((accuracy, exact), (accuracy, exact | {500: 0.7}), ({10: 1.0}, {}))
    )
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, alone)


def test_labels_of_lengths_do_not_touch():
    """Many lengths, some next to each other, would be a smear of digits."""
    few = [10, 20, 30, 40, 50, 60, 120, 250, 500, 1000]
    assert pictures.labels_apart(few, 132) == [str(length) for length in few]
    many = [10, 20, 30, 40, *range(41, 501, 27)]
    shown = [int(text) for text in pictures.labels_apart(many, 661) if text]
    assert shown == [10, 20, 30, 40, 68, 95, 149, 203, 284, 500]


def test_memory_over_time_is_1600_wide_and_shows_its_data(path):
    in_order = copy_view()
    reversed_read = in_order._replace(read_weights=in_order.read_weights[..., ::-1])
    one = drawn(pictures.memory_over_time, in_order, path=path)
    other = drawn(pictures.memory_over_time, reversed_read, path=path)
    assert one.shape[1] == 1600
    assert not np.array_equal(one, other)


def test_writes_that_are_not_kept_are_not_counted():
    """Where slots run out a write can be refused, though its gate is open."""
    view = copy_view()
    view.write_weights[:, :, 5] = 0
    assert pictures._panels(view)[0][0].gate.sum() == 7
    assert pictures._panels(copy_view())[0][0].gate.sum() == 8


@pytest.fixture
def axes(monkeypatch, path):
    return axes_of(pictures, monkeypatch, path)


def test_a_closed_gate_leaves_no_mark(axes):
    """Otherwise a step that spent nothing looks like one that wrote or read."""
    view = copy_view()
    open_at = np.arange(20)[:, None] % 3 == 1
    strength = view.strength * open_at
    view = view._replace(writes=view.writes & open_at, reads=open_at, strength=strength)
    _, write, read, _ = axes(pictures.memory_over_time, view)
    for ax, gate in ((write, view.writes), (read, view.reads)):
        marks = ax.images[1].get_array()
        assert (marks > 0).any(axis=0).tolist() == gate[:, 0].tolist()
        assert f"(at {gate.sum()} of 20 steps; " in ax.get_title("left")


def test_an_expert_that_does_not_compute_leaves_no_mark(axes):
    view = copy_view()
    experts = np.where(np.arange(20)[:, None] == (4, 9), view.experts, -1)
    lowest = axes(pictures.memory_over_time, view._replace(experts=experts))[-1]
    marked = (lowest.images[0].get_array() < 1).any(axis=-1)
    assert np.argwhere(marked).tolist() == [[0, 4], [1, 9]]
    assert "(at 2 of 20 steps)" in lowest.get_title("left")


def test_spending_is_stacked_to_its_total(axes):
    """Experts, writes, reads on top of one another, in the colours that they have elsewhere."""
    share = np.random.default_rng(0).random((3, 20))
    sequence = copy_view().sequence
    ax = axes(pictures.spending_over_time, sequence, Spending(*share), 0.25)[1]
    steps = [patch.get_data() for patch in ax.patches]
    bottoms, tops = (
        np.array([getattr(data, at) for data in steps]) for at in ("baseline", "values")
    )
    np.testing.assert_allclose(tops - bottoms, share)
    np.testing.assert_allclose(tops[-1], share.sum(axis=0))
    assert bottoms[0].max() == 0
    np.testing.assert_array_equal(bottoms[1:], tops[:-1])
    colours = [to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert colours == [colour.lower() for colour in PARTS.values()]


@pytest.mark.parametrize(("spent", "target"), [(0.0, None), (0.3, 0.95)])
def test_spending_of_any_sequence(spent, target, path):
    spending = Spending(*np.full((3, 20), spent))
    drawn(pictures.spending_over_time, copy_view().sequence, spending, target, path=path)


def test_only_wrong_predictions_are_red(path):
    """The legend has a red square; each wrong prediction adds a cell to it."""
    red = [
        (np.abs(picture[..., :3] - (0.816, 0, 0)).max(axis=-1) < 0.01).sum()
        for picture in (
            drawn(pictures.memory_over_time, copy_view(wrong=n), path=path) for n in (0, 1, 2)
        )
    ]
    assert red[0] < red[1] < red[2]
    assert red[2] - red[1] > red[0]


def many_heads():
    view = copy_view()
    return view._replace(
        write_weights=np.repeat(view.write_weights, 4, axis=0),
        read_weights=np.repeat(view.read_weights, 4, axis=0),
        strength=np.repeat(view.strength, 4, axis=1),
        writes=np.repeat(view.writes, 4, axis=1),
        reads=np.repeat(view.reads, 4, axis=1),
    )


@pytest.mark.parametrize(
    "view",
    [
        copy_view(start=13),
        copy_view()._replace(experts=None, num_experts=0),
        copy_view()._replace(experts=np.full((20, 1), -1)),
        copy_view()._replace(experts=np.arange(40).reshape(20, 2), num_experts=40),
        copy_view()._replace(write_pointer=None, read_pointer=None),
        with_sequence(blank=None, marker=None),
        with_sequence(scored=np.arange(20) % 2 == 1),
        with_sequence(scored=np.zeros(20, bool)),
        many_heads(),
        copy_view()._replace(
            write_weights=np.zeros((0, 4, 20)),
            read_weights=np.zeros((0, 4, 20)),
            write_pointer=None,
            read_pointer=None,
        ),
    ],
    ids=[
        "pointers wrap",
        "no experts",
        "no expert chosen",
        "40 experts",
        "content heads only",
        "every token a symbol",
        "scored in turn",
        "nothing scored",
        "1 location and 3 content heads",
        "no memory",
    ],
)
def test_memory_over_time_of_any_model(view, path):
    drawn(pictures.memory_over_time, view, path=path)


def test_a_head_that_is_never_used_is_named_and_not_drawn(axes):
    """Four heads of which one works were eight panels, most of them empty."""
    view = many_heads()
    used = np.array([True, False, False, True])
    view = view._replace(strength=view.strength * used, writes=view.writes & used)
    view = view._replace(reads=view.reads & np.array([True, False, True, False]))
    drawn_axes = axes(pictures.memory_over_time, view)
    names = [ax.get_title("left").partition("  ")[0] for ax in drawn_axes[1:-1]]
    write, read = "write weight × strength", "read weight"
    assert names == [
        f"head 0 · {write}",
        f"head 0 · {read}",
        f"head 2 · {read}",
        f"head 3 · {write}",
    ]
    notes = [text.get_text() for text in drawn_axes[0].figure.texts]
    assert "not drawn, since never used: head 1, writes of head 2, reads of head 3" in notes


def test_slots_are_counted_from_where_they_are(axes):
    """Slots 13 to 20 of 64, with one more at each end."""
    write = axes(pictures.memory_over_time, copy_view(start=13, slots=64))[1]
    assert write.get_ylim() == (11.5, 21.5)
    assert write.get_ylabel() == "slot (of 64)"
    marks = write.images[1]
    assert marks.get_extent()[2:] == [11.5, 21.5]
    assert np.argwhere(marks.get_array() > 0)[0].tolist() == [1, 0]


def test_slots_on_both_sides_of_slot_0_are_together(axes):
    """Slots 60 to 63 and 0 to 3 were 64 rows, of which 56 were empty."""
    write = axes(pictures.memory_over_time, copy_view(start=60, slots=64))[1]
    assert write.get_ylim() == (-5.5, 4.5)
    marks = write.images[1].get_array()
    assert np.argwhere(marks > 0).tolist() == [[n + 1, n] for n in range(8)]
    named = write.yaxis.get_major_formatter()
    assert [named(slot) for slot in (-4, -1, 0, 3)] == ["60", "63", "0", "3"]
    pointer = write.lines[1].get_ydata()  # after the dashed line
    assert list(pointer[:8]) == [-4, -3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([], range(0)),
        ([2], range(2, 3)),
        ([0, 7], range(-1, 1)),
        ([1, 2, 6], range(-2, 3)),
        ([1, 5], range(1, 6)),
        (range(8), range(8)),
    ],
    ids=str,
)
def test_slots_are_drawn_without_the_longest_stretch_that_is_not_touched(slots, expected):
    weights = np.zeros((8, 3))
    weights[list(slots), 1] = 1
    assert pictures.touched(weights) == expected


def test_symbols_are_called_by_their_names(axes):
    """An action of a stack machine says more than 4."""
    view = with_sequence(name=lambda token: "pop" if token == 11 else str(token))
    strip = axes(pictures.memory_over_time, view)[0]
    assert [text.get_text() for text in strip.texts].count("pop") == 3


def test_empty_slots_above_the_touched_ones_are_not_drawn(path):
    """A ring of 64 with 8 slots in use looks like one of 32, but for the axis label."""
    of_32, of_64 = (
        drawn(pictures.memory_over_time, copy_view(slots=n), path=path) for n in (32, 64)
    )
    assert of_32.shape == of_64.shape
    right_of_labels = np.s_[:, 150:]
    np.testing.assert_array_equal(of_32[right_of_labels], of_64[right_of_labels])


def test_a_pointer_is_broken_where_it_wraps():
    # Slots 2, 3 on the first turn of a ring of 4, then 0 and 1 on the second.
    time, slot = pictures.wrapped(np.array([2.0, 3.0, 4.0, 5.0]), 4)
    np.testing.assert_array_equal(time, [0, 1, np.nan, 2, 3])
    np.testing.assert_array_equal(slot, [2, 3, np.nan, 0, 1])


def test_a_pointer_wraps_halfway_between_slots_and_backwards():
    # 3.4 still belongs to slot 3, 3.6 to slot 0; −1 is slot 3 of the turn before.
    _, slot = pictures.wrapped(np.array([3.4, 3.6, 0.0, -1.0]), 4)
    np.testing.assert_allclose(slot, [3.4, np.nan, -0.4, np.nan, 0.0, np.nan, 3.0])


def test_a_pointer_within_the_ring_is_left_alone():
    position = np.linspace(0, 3, 7)
    np.testing.assert_array_equal(pictures.wrapped(position, 4)[1], position)


def test_a_failed_drawing_keeps_the_old_picture_and_leaves_no_file(path, monkeypatch):
    path.write_bytes(b"old")

    def fail(figure, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pictures.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        pictures.accuracy_by_length({10: 1.0}, {10: 1.0}, (10, 60), path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
