"""Pictures of a sequence model: accuracy by length, and its memory over one sequence.

Axes: T time, H memory heads (pointer heads first, Hl of them), S slots, K active experts.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure

from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.report.pictures import (
    BLUE,
    EXPERTS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PARTS,
    RED,
    SYMBOL_MAP,
    colour_map,
    expert_colours,
    legend_above,
    patches,
    percent,
    percent_axis,
    save,
    target_line,
    tidy,
)

WRITE_MAP = colour_map("write", ["#56B4E900", "#56B4E9", BLUE])
READ_MAP = colour_map("read", ["#E69F0000", ORANGE, "#D55E00"])
HELD_MAP = colour_map("held", ["#FFFFFF", "#DCECF7"])
TOUCHED = 0.02  # weight above which a slot counts as written or read


class Answered(NamedTuple):
    """One sequence and what was predicted of it."""

    tokens: np.ndarray  # int [T]
    targets: np.ndarray  # int [T]
    predictions: np.ndarray  # int [T]
    scored: np.ndarray  # bool [T], where targets count
    blank: int | None = 0  # the token that stands for nothing, if there is one
    marker: int | None = None  # the token that starts the answer, if there is one

    @property
    def result(self) -> str:
        right = int((self.predictions == self.targets)[self.scored].sum())
        return f"{right} of {int(self.scored.sum())} scored symbols correct"

    @property
    def starts(self) -> np.ndarray:
        """Steps from which on it is scored, int; of many the first."""
        starts = np.flatnonzero(np.diff(self.scored.astype(int), prepend=0) == 1)
        return starts if len(starts) <= 4 else starts[:1]


class MemoryView(NamedTuple):
    """The accesses and experts of one layer over one sequence."""

    sequence: Answered
    write_weights: np.ndarray  # float [H, S, T] in [0, 1], dense
    read_weights: np.ndarray  # float [H, S, T] in [0, 1], dense
    strength: np.ndarray  # float [T, H] in [0, 1], β of the write; 0 where not written
    writes: np.ndarray  # bool [T, H], where the gate of the write is open
    reads: np.ndarray  # bool [T, H], where the gate of the read is open
    write_pointer: np.ndarray | None  # float [T, Hl], in slots, not wrapped; if any
    read_pointer: np.ndarray | None  # float [T, Hl], in slots, not wrapped; if any
    experts: np.ndarray | None  # int [T, K] < num_experts, negative where none; if any
    num_experts: int
    layer: str  # for the title


def accuracy_by_length(
    accuracy: dict[int, float], exact: dict[int, float], trained: tuple[int, int], path: Path
) -> None:
    """Share of symbols and of whole sequences that are right, against length.

    accuracy, exact: length → share in [0, 1].
    trained: shortest and longest in training, inclusive.
    """
    figure = Figure((8.0, 4.4), dpi=160, layout="constrained")
    ax = figure.subplots()
    tidy(ax)
    ax.axvspan(*trained, color=BLUE, alpha=0.12, linewidth=0)
    middle, label = np.sqrt(trained[0] * trained[1]), f"trained on {trained[0]}–{trained[1]}"
    ax.text(middle, 1.03, label, ha="center", color=BLUE)
    points = lambda series: np.array(sorted(series.items()), float).T
    style = {"linewidth": 2, "clip_on": False, "zorder": 3}
    if accuracy:
        ax.plot(*points(accuracy), "o-", color=ORANGE, label="accuracy (of symbols)", **style)
    if exact:
        ax.plot(*points(exact), "s--", color=GREEN, label="exact match (of sequences)", **style)
    lengths = sorted({*accuracy, *exact})
    ax.set(xlabel="length", xscale="log", ylabel="share correct", ylim=(0, 1))
    low, high = min(*lengths, *trained) / 1.15, max(*lengths, *trained) * 1.15
    ax.set_xlim(low, high)
    ax.set_xticks(lengths, labels_apart(lengths, high / low))
    ax.minorticks_off()
    ax.legend(frameon=False, loc="best")
    save(figure, path)


def labels_apart(lengths: list[int], extent: float) -> list[str]:
    """Labels of rising ticks on a logarithmic axis, empty where they would touch the label
    before. extent: the axis's end divided by its start.
    """
    labels, last = [], None
    for length in lengths:
        text = str(length)
        width = 0.014 * len(text) * np.log(extent)
        free = last is None or np.log(length / last) > width
        labels.append(text if free else "")
        last = length if free else last
    return labels


def memory_over_time(view: MemoryView, path: Path) -> None:
    """Where a sequence was written in memory and read back, 1600 pixels wide.

    From the top: input, target, prediction; what each head writes and reads, with the
    pointers of pointer heads and a tint on slots written before; the experts that compute.
    A step whose gate is closed has no mark, and the pointer's line is pale there. Slots above
    the last one that a head touches are not drawn.
    """
    heads = len(view.write_weights)
    heights = [2.3 if heads == 1 else 1.5] * (2 * heads)
    heights += [] if view.experts is None else [0.17 * view.experts.shape[1]]
    figure, axes = _over_time(view.sequence, heights, f"{view.layer}: {view.sequence.result}")
    for head in range(heads):
        _head(axes[2 * head : 2 * head + 2], view, head)
    if view.experts is not None:
        _experts(axes[-1], view)
    save(figure, path)


def spending_over_time(
    sequence: Answered, spending: Spending, target: float | None, path: Path
) -> None:
    """What the steps of a sequence spend, by part, under its symbols; 1600 pixels wide.

    spending: of T steps. target: share of the full compute, None where there is none.
    """
    total = spending.total
    title = f"{sequence.result}, with {percent(total.mean())} of the full compute"
    title += "" if target is None else f" (target {percent(target)})"
    figure, (ax,) = _over_time(sequence, [2.6], title)
    tidy(ax)
    edges, base = np.arange(len(total) + 1) - 0.5, np.zeros(len(total))
    for part, colour in PARTS.items():
        top = base + getattr(spending, part)
        ax.stairs(top, edges, baseline=base, fill=True, color=colour, zorder=1)
        base = top
    handles = patches(PARTS) + ([] if target is None else [target_line(ax, target)])
    ax.set_ylim(0, 1.1 * max(total.max(), target or 0, 0.01))
    percent_axis(ax)
    ax.set_ylabel("share of the full compute")
    legend_above(ax, handles)
    save(figure, path)


def wrapped(position: np.ndarray, num_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Time and slot of a pointer on a ring as a line to plot, broken where it wraps.

    position: float [T], in slots, not wrapped. Returns two float arrays of equal length
    ≥ T; slots lie in [−½, S − ½), around the centres 0 … S − 1, with a NaN between two
    steps on different turns of the ring.
    """
    turn = np.floor((position + 0.5) / num_slots)
    breaks = np.flatnonzero(np.diff(turn)) + 1
    time = np.insert(np.arange(len(position), dtype=float), breaks, np.nan)
    return time, np.insert(position - turn * num_slots, breaks, np.nan)


def _over_time(
    sequence: Answered, heights: list[float], title: str
) -> tuple[Figure, list[Axes]]:
    """A figure with the sequence's symbols on top and axes of these heights, in inches, below,
    which share its time."""
    heights = [0.66, *heights]
    top, gap, bottom = 0.72, 0.36, 0.55  # inches, as the heights
    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    place = {"top": 1 - top / total, "bottom": bottom / total, "left": 0.085, "right": 0.985}
    place |= {"height_ratios": heights, "hspace": gap / np.mean(heights)}
    figure = Figure((10.0, total), dpi=160)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=place)
    strip, *axes = grid[:, 0]
    _symbols(strip, sequence)
    for ax in (strip, *axes):
        for start in sequence.starts:
            ax.axvline(start - 0.5, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    lowest = grid[-1, 0]
    lowest.set_xlabel("time step (tokens); scored from the vertical dashed line on")
    lowest.locator_params(axis="x", nbins=14, integer=True)
    figure.text(0.085, 1 - 0.3 / total, title, fontsize=13, weight="bold", color=INK)
    return figure, axes


def _head(axes, view, head):
    """Heat maps of what one head writes (axes[0]) and reads (axes[1])."""
    gates = view.writes[:, head], view.reads[:, head]
    written = view.write_weights[head] * view.strength[:, head]
    read = view.read_weights[head] * gates[1]
    held = np.maximum.accumulate(written, axis=1)
    of_head = lambda pointer: [] if pointer is None else pointer.T[head : head + 1]
    pointers = of_head(view.write_pointer), of_head(view.read_pointer)
    slots = len(written)
    touched = [0, *np.flatnonzero(np.maximum(written, read).max(axis=1) > TOUCHED)]
    touched += [slot for own in pointers for slot in np.ravel(np.round(own) % slots)]
    drawn = min(slots, int(max(touched)) + 2)
    crop = "" if drawn == slots else f"\n({drawn}–{slots - 1} never\ntouched, not drawn)"
    heat = {"aspect": "auto", "origin": "lower", "vmin": 0, "vmax": 1}
    names, maps = ("write weight × strength", "read weight"), (WRITE_MAP, READ_MAP)
    panels = zip(axes, names, (written, read), gates, pointers, maps, strict=True)
    for ax, name, weights, gate, own, colours in panels:
        tidy(ax)
        ax.imshow(held[:drawn], HELD_MAP, **heat)
        ax.imshow(weights[:drawn], colours, zorder=1, **heat)
        for pointer in own:
            ax.plot(*wrapped(pointer, slots), color="#999999", linewidth=0.5)
            engaged = np.where(gate, pointer, np.nan)
            ax.plot(*wrapped(engaged, slots), color=INK, linewidth=0.8)
        ax.set(ylabel=f"slot{crop}", ylim=(-0.5, drawn - 0.5))
        ax.locator_params(axis="y", nbins=5, integer=True)
        line = "line: pointer, pale where closed; " * len(own)
        note = f"(at {gate.sum()} of {len(gate)} steps; {line}tint: written before)"
        ax.set_title(f"head {head} · {name}  {note}", fontsize=10, loc="left", y=1, pad=4)
        height = 0.09 / (ax.figure.get_figheight() * ax.get_position().height)
        bar = ax.inset_axes((0.88, 1 + height, 0.1, height), xticks=[], yticks=[])
        bar.imshow(np.linspace(0, 1, 64)[None], colours, aspect="auto", extent=(0, 1, 0, 1))
        bar.text(-0.03, 0.45, "0", ha="right", va="center", fontsize=8)
        bar.text(1.03, 0.45, "1", ha="left", va="center", fontsize=8)


def _symbols(ax, sequence):
    """Input, target and prediction, a symbol coloured by its first place in the input."""
    special = {sequence.blank: to_rgb(GREY), sequence.marker: to_rgb("black")}
    symbols = [
        token for token in dict.fromkeys(sequence.tokens.tolist()) if token not in special
    ]
    shades = SYMBOL_MAP(np.linspace(0, 1, len(symbols)))[:, :3]
    colour = special | dict(zip(symbols, shades, strict=True))
    shown = np.stack([np.ones_like(sequence.scored), sequence.scored, sequence.scored])
    tokens = np.stack([sequence.tokens, sequence.targets, sequence.predictions])
    wrong = shown & (tokens != sequence.targets) & np.array([[False], [False], [True]])
    cells, labels = np.ones((*shown.shape, 3)), np.full(shown.shape, "", dtype=object)
    for at in zip(*np.nonzero(shown), strict=True):
        token = int(tokens[at])
        cells[at] = to_rgb(RED) if wrong[at] else colour.get(token, to_rgb("grey"))
        labels[at] = str(token) if wrong[at] or token not in special else ""
    _cells(ax, cells, labels, ["input", "target", "prediction"])
    times = np.flatnonzero(wrong[2])
    ax.plot(times, np.full(len(times), 2.75), "^", color=RED, markersize=4, clip_on=False)
    ax.set_ylim(2.5, -0.5)
    legend = {"symbol, shaded by first appearance": SYMBOL_MAP(0.5)}
    legend |= {
        n: colour[t] for n in ("blank", "marker") if (t := getattr(sequence, n)) is not None
    }
    legend_above(ax, patches(legend | {"wrong prediction": RED}))


def _experts(ax, view):
    few, chosen = view.num_experts <= len(EXPERTS), view.experts.T
    colours = to_rgba_array(expert_colours(view.num_experts))
    cells = np.where(chosen[..., None] < 0, 1.0, colours[chosen][..., :3])
    labels = np.where(few | (chosen < 0), "", chosen.astype(str))
    _cells(ax, cells, labels, [f"choice {k}" for k in range(len(chosen))])
    busy = int((chosen >= 0).any(axis=0).sum())
    scale = "" if few else f", 0 dark to {view.num_experts - 1} light"
    note = f"(at {busy} of {chosen.shape[1]} steps{scale})"
    ax.set_title(f"experts that compute  {note}", fontsize=10, loc="left", y=1, pad=4)
    legend_above(ax, patches({str(e): colours[e] for e in range(view.num_experts) if few}))


def _cells(ax, colours, labels, names):
    """Rows of coloured cells [rows, T, 3] with their labels, where these fit."""
    tidy(ax)
    rows, length = labels.shape
    ax.imshow(colours, aspect="auto", interpolation="nearest", zorder=1)
    ax.hlines(np.arange(1, rows) - 0.5, -0.5, length - 0.5, color="white", linewidth=1.5)
    ax.set_yticks(range(rows), names, fontsize=9)
    width = 648 / length  # of a cell, in points
    upright = width > 5 * max(map(len, labels.flat))
    style = {"rotation": 0 if upright else 90, "fontsize": min(7, 0.9 * width), "ha": "center"}
    for (row, t), text in np.ndenumerate(labels):
        ink = "white" if colours[row, t] @ (0.3, 0.6, 0.1) < 0.5 else INK
        if text and width > 4.4:
            ax.text(t, row, text, va="center", color=ink, **style)
