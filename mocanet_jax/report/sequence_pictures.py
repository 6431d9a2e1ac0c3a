"""Pictures of a sequence model: accuracy by length, and its memory over one sequence.

Axes: T time, H memory heads (pointer heads first, Hl of them), S slots, K active experts.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.report.pictures import (
    BLUE,
    EXPERTS,
    GREEN,
    INK,
    ORANGE,
    PARTS,
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
from mocanet_jax.report.sequence_strip import Answered, cells, over_time

WRITE_MAP = colour_map("write", ["#56B4E900", "#56B4E9", BLUE])
READ_MAP = colour_map("read", ["#E69F0000", ORANGE, "#D55E00"])
HELD_MAP = colour_map("held", ["#FFFFFF", "#DCECF7"])
TOUCHED = 0.02  # weight above which a slot counts as written or read


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
    label = f"trained on {trained[0]}–{trained[1]}"
    ax.axvspan(*trained, color=BLUE, alpha=0.12, linewidth=0, label=label)
    points = lambda series: np.array(sorted(series.items()), float).T
    style = {"clip_on": False, "zorder": 3}
    if accuracy:
        wide = {"label": "accuracy (of symbols)", "linewidth": 3, "markersize": 8}
        ax.plot(*points(accuracy), "o-", color=ORANGE, **wide, **style)
    if exact:  # narrow, since both are often 1
        narrow = {"label": "exact match (of sequences)", "linewidth": 1.2, "markersize": 4}
        ax.plot(*points(exact), "s--", color=GREEN, **narrow, **style)
    lengths = sorted({*accuracy, *exact})
    ax.set(xlabel="length", xscale="log", ylabel="share correct", ylim=(0, 1))
    low, high = lengths[0] / 1.15, lengths[-1] * 1.15
    ax.set_xlim(low, high)
    ax.set_xticks(lengths, labels_apart(lengths, high / low))
    ax.minorticks_off()
    ax.legend(frameon=False, loc="best")
    save(figure, path)


def labels_apart(lengths: list[int], extent: float) -> list[str]:
    """Labels of rising ticks on a logarithmic axis, empty where they would touch the label
    before, or that of the last one, which is always there. extent: the axis's end divided by
    its start.
    """
    last = lengths[-1]
    width = lambda length: 0.014 * len(str(length)) * np.log(extent)
    labels, before = [], None
    for length in lengths:
        free = before is None or np.log(length / before) > width(length)
        free = length == last or (free and np.log(last / length) > width(last))
        labels.append(str(length) if free else "")
        before = length if free else before
    return labels


class Accesses(NamedTuple):
    """What one head writes or reads over one sequence."""

    name: str
    weights: np.ndarray  # float [S, T] in [0, 1], 0 where the gate is closed
    held: np.ndarray  # float [S, T] in [0, 1], the strongest write so far
    gate: np.ndarray  # bool [T], where it is open
    pointer: np.ndarray | None  # float [T], in slots, not wrapped; if any
    slots: range  # those that the head touches, and one more at each end; modulo S
    colours: LinearSegmentedColormap


def memory_over_time(view: MemoryView, path: Path) -> None:
    """Where a sequence was written in memory and read back, 1600 pixels wide.

    From the top: input, target, prediction; what each head writes and reads, with the
    pointers of pointer heads and a tint on slots written before; the experts that compute.
    A step whose gate is closed has no mark, and the pointer's line is pale there. Only slots
    that a head touches are drawn, the last below the first where it touches both; what touches
    none is named instead.
    """
    panels, idle = _panels(view)
    tallest = min(2.3, max(0.8, 8 / max(1, len(panels))))
    heights = [min(tallest, max(0.6, 0.12 * len(panel.slots))) for panel in panels]
    computes = view.experts is not None and (view.experts >= 0).any()
    heights += [0.17 * view.experts.shape[1]] if computes else []
    idle += [] if view.experts is None or computes else ["experts"]
    note = f"not drawn, since never used: {', '.join(idle)}" if idle else ""
    title = f"{view.layer}: {view.sequence.result}"
    figure, axes = over_time(view.sequence, heights, title, note)
    for ax, panel in zip(axes, panels, strict=False):
        _accesses(ax, panel, len(view.write_weights[0]))
    if computes:
        _experts(axes[-1], view)
    save(figure, path)


def _panels(view: MemoryView) -> tuple[list[Accesses], list[str]]:
    """What is drawn, and the names of what is never used."""
    panels, idle = [], []
    has = lambda pointer, head: pointer is not None and head < pointer.shape[1]
    column = lambda pointer, head: pointer[:, head] if has(pointer, head) else None
    for head in range(len(view.write_weights)):
        written = view.write_weights[head] * view.strength[:, head]
        read = view.read_weights[head] * view.reads[:, head]
        held = np.maximum.accumulate(written, axis=1)
        slots = _with_margins(touched(np.maximum(written, read)), len(written))
        pointers = column(view.write_pointer, head), column(view.read_pointer, head)
        kept = view.write_weights[head].any(axis=0)  # else its slot went to no one
        gates = view.writes[:, head] & kept, view.reads[:, head]
        names, maps = ("write weight × strength", "read weight"), (WRITE_MAP, READ_MAP)
        both = [
            Accesses(f"head {head} · {name}", weights, held, gate, pointer, slots, colours)
            for name, weights, gate, pointer, colours in zip(
                names, (written, read), gates, pointers, maps, strict=True
            )
        ]
        used = [(panel.weights > TOUCHED).any() for panel in both]
        panels += [panel for panel, drawn in zip(both, used, strict=True) if drawn]
        parts = ["writes", "reads"] if any(used) else [""]
        unused = zip(parts, used, strict=False)
        idle += [f"{part} of head {head}".removeprefix(" of ") for part, u in unused if not u]
    return panels, idle


def touched(weights: np.ndarray) -> range:
    """The slots that weights [S, T] touch, on a ring, without the longest stretch that they do
    not: from a negative number, modulo S, where they go on below slot 0."""
    slots, total = np.flatnonzero(weights.max(axis=1, initial=0) > TOUCHED), len(weights)
    if not len(slots):
        return range(0)
    gaps = np.diff(slots, append=slots[0] + total)  # to the next one
    widest = len(gaps) - 1 - int(np.argmax(gaps[::-1]))
    if widest == len(gaps) - 1:
        return range(int(slots[0]), int(slots[-1]) + 1)
    return range(int(slots[widest + 1]) - total, int(slots[widest]) + 1)


def _with_margins(slots: range, total: int) -> range:
    """One slot more at each end, where there is one that is not drawn yet."""
    if not slots or len(slots) + 2 > total:
        return slots
    low = slots.start - 1 if slots.start < 0 else max(0, slots.start - 1)
    return range(low, min(total, slots.stop + 1))


def spending_over_time(
    sequence: Answered, spending: Spending, target: float | None, path: Path
) -> None:
    """What the steps of a sequence spend, by part, under its symbols; 1600 pixels wide.

    spending: of T steps. target: share of the full compute, None where there is none.
    """
    total = spending.total
    title = f"{sequence.result}, with {percent(total.mean())} of the full compute"
    title += "" if target is None else f" (target {percent(target)})"
    figure, (ax,) = over_time(sequence, [2.6], title)
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


def wrapped(
    position: np.ndarray, num_slots: int, lowest: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Time and slot of a pointer on a ring as a line to plot, broken where it wraps.

    position: float [T], in slots, not wrapped. lowest: the slot where the ring is cut. Returns
    two float arrays of equal length ≥ T; slots lie in [−½, S − ½) above the lowest, around
    their centres, with a NaN between two steps on different turns of the ring.
    """
    turn = np.floor((position - lowest + 0.5) / num_slots)
    breaks = np.flatnonzero(np.diff(turn)) + 1
    time = np.insert(np.arange(len(position), dtype=float), breaks, np.nan)
    return time, np.insert(position - turn * num_slots, breaks, np.nan)


def _accesses(ax: Axes, panel: Accesses, num_slots: int) -> None:
    """A heat map of slots over time."""
    low, high, steps = panel.slots.start, panel.slots.stop, len(panel.gate)
    heat = {"aspect": "auto", "origin": "lower", "vmin": 0, "vmax": 1}
    heat["extent"] = (-0.5, steps - 0.5, low - 0.5, high - 0.5)
    tidy(ax)
    rows = np.arange(low, high) % num_slots
    ax.imshow(panel.held[rows], HELD_MAP, **heat)
    ax.imshow(panel.weights[rows], panel.colours, zorder=1, **heat)
    line = ""
    if panel.pointer is not None and not np.isnan(panel.pointer).any():
        line = "line: pointer, pale where closed; "
        ax.plot(*wrapped(panel.pointer, num_slots, low), color="#999999", linewidth=0.5)
        engaged = np.where(panel.gate, panel.pointer, np.nan)
        ax.plot(*wrapped(engaged, num_slots, low), color=INK, linewidth=0.8)
    every = high - low == num_slots
    ax.set(ylabel="slot" if every else f"slot (of {num_slots})", ylim=(low - 0.5, high - 0.5))
    ax.locator_params(axis="y", nbins=5, integer=True)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda slot, _: f"{slot % num_slots:.0f}"))
    note = f"(at {panel.gate.sum()} of {steps} steps; {line}tint: written before)"
    ax.set_title(f"{panel.name}  {note}", fontsize=10, loc="left", y=1, pad=4)
    height = 0.09 / (ax.figure.get_figheight() * ax.get_position().height)
    bar = ax.inset_axes((0.88, 1 + height, 0.1, height), xticks=[], yticks=[])
    bar.imshow(np.linspace(0, 1, 64)[None], panel.colours, aspect="auto", extent=(0, 1, 0, 1))
    bar.text(-0.03, 0.45, "0", ha="right", va="center", fontsize=8)
    bar.text(1.03, 0.45, "1", ha="left", va="center", fontsize=8)


def _experts(ax, view):
    few, chosen = view.num_experts <= len(EXPERTS), view.experts.T
    colours = to_rgba_array(expert_colours(view.num_experts))
    shades = np.where(chosen[..., None] < 0, 1.0, colours[chosen][..., :3])
    labels = np.where(few | (chosen < 0), "", chosen.astype(str))
    cells(ax, shades, labels, [f"choice {k}" for k in range(len(chosen))])
    busy = int((chosen >= 0).any(axis=0).sum())
    scale = "" if few else f", 0 dark to {view.num_experts - 1} light"
    note = f"(at {busy} of {chosen.shape[1]} steps{scale})"
    ax.set_title(f"experts that compute  {note}", fontsize=10, loc="left", y=1, pad=4)
    legend_above(ax, patches({str(e): colours[e] for e in range(view.num_experts) if few}))
