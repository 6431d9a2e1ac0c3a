"""Pictures of a run as PNG files: learning curves, accuracy by length, memory over time.

A picture is drawn under a temporary name and then moved, so it is complete or absent.
Colours are those of Okabe and Ito (2008), told apart with any colour vision.

Axes: T time, H memory heads (location heads first, Hl of them), S slots, K active experts.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D00000"
INK, GREY = "#222222", "#E4E4E4"
EXPERTS = [BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555"]
colour_map = LinearSegmentedColormap.from_list
WRITE_MAP = colour_map("write", ["#56B4E900", "#56B4E9", BLUE])
READ_MAP = colour_map("read", ["#E69F0000", ORANGE, "#D55E00"])
HELD_MAP = colour_map("held", ["#FFFFFF", "#DCECF7"])
SYMBOL_MAP = colour_map("symbol", ["#16325C", "#2E6FA7", "#74B4D4", "#C9DFC0", "#F7DC6F"])
BINS, MARKED = 400, 40
TOUCHED = 0.02
"""Weight above which a slot counts as written or read when empty slots are cropped."""


class MemoryView(NamedTuple):
    """What one layer's memory and experts did with one sequence.

    tokens, targets, predictions: int [T]. scored: bool [T], where targets count.
    write_weights, read_weights: float [H, S, T], dense addresses in [0, 1].
    strength: float [T, H], β of the write in [0, 1].
    write_pointer, read_pointer: float [T, Hl], in slots, not wrapped; or None.
    experts: int [T, K], of num_experts, negative where none was chosen; or None.
    layer: its name, for the title.
    blank, marker: the tokens that are no symbols; None where the task has none.
    """

    tokens: np.ndarray
    targets: np.ndarray
    predictions: np.ndarray
    scored: np.ndarray
    write_weights: np.ndarray
    read_weights: np.ndarray
    strength: np.ndarray
    write_pointer: np.ndarray | None
    read_pointer: np.ndarray | None
    experts: np.ndarray | None
    num_experts: int
    layer: str
    blank: int | None = 0
    marker: int | None = None


def learning_curves(rows: Sequence[dict[str, float]], path: pathlib.Path) -> None:
    """Loss, accuracy, usage and curriculum length against the training step.

    rows: lines of metrics.jsonl, each with "step" and any of "train/loss",
        "train/task_loss", "eval/loss" (drawn on a log scale), "train/accuracy",
        "eval/accuracy", "eval/exact_match", "train/usage", "eval/usage" (in [0, 1]) and
        "train/longest" (in symbols). Of several rows with one step the last counts, so
        that a resumed run replaces what it repeats. Values that are not finite are left
        out. A long series is drawn as the mean and the range of 400 bins.
    """
    panels = {
        "loss (log scale)": ("train/loss", "train/task_loss", "eval/loss"),
        "accuracy": ("train/accuracy", "eval/accuracy", "eval/exact_match"),
        "usage (share of full compute)": ("train/usage", "eval/usage"),
    }
    if any("train/longest" in row for row in rows):
        panels["longest payload (symbols)"] = ("train/longest",)
    figure = Figure((9.0, 2.2 * len(panels) + 0.5), dpi=160, layout="constrained")
    all_axes = figure.subplots(len(panels), 1, sharex=True)
    for ax, (label, keys) in zip(all_axes, panels.items(), strict=True):
        _tidy(ax, grid="both")
        ax.set_ylabel(label, fontsize=9)
        drawn = [_curve(ax, rows, *pair) for pair in zip(keys, (BLUE, ORANGE, GREEN))]  # noqa: B905
        if any(drawn):
            ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        else:
            ax.text(0.5, 0.5, "not recorded", transform=ax.transAxes, ha="center", color="grey")
        if label.startswith("loss"):
            ax.set_yscale("log" if any(drawn) else "linear")
        elif label.startswith("longest"):
            ax.set_ylim(bottom=0)
        else:
            ax.set_ylim(-0.03, 1.03)
    all_axes[-1].set_xlabel("training step")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    figure.align_ylabels(all_axes)
    _save(figure, path)


def accuracy_by_length(
    accuracy: dict[int, float],
    exact: dict[int, float],
    trained: tuple[int, int],
    path: pathlib.Path,
) -> None:
    """Share of symbols and of whole sequences that are right, against payload length.

    accuracy, exact: length in symbols → share in [0, 1]; not both empty.
    trained: shortest and longest payload in training, inclusive.
    """
    figure = Figure((8.0, 4.4), dpi=160, layout="constrained")
    ax = figure.subplots()
    _tidy(ax, grid="both")
    ax.axvspan(*trained, color=BLUE, alpha=0.12, linewidth=0)
    middle, label = np.sqrt(trained[0] * trained[1]), f"trained on {trained[0]}–{trained[1]}"
    ax.text(middle, 1.03, label, ha="center", color=BLUE)
    for series, label, colour, marker in (
        (accuracy, "accuracy (share of symbols)", ORANGE, "o"),
        (exact, "exact match (share of sequences)", GREEN, "s"),
    ):
        points = np.array(sorted(series.items()), float).reshape(-1, 2).T
        style = {"linewidth": 2, "clip_on": False, "zorder": 3}
        ax.plot(*points, color=colour, marker=marker, label=label, **style)
    ticks = sorted({*accuracy, *exact})
    ax.set_xscale("log")
    ax.set_xlim(min(*ticks, *trained) / 1.15, max(*ticks, *trained) * 1.15)
    ax.set_xticks(ticks, [str(length) for length in ticks])
    ax.minorticks_off()
    ax.set_ylim(0, 1)
    ax.set_xlabel("payload length (symbols, log scale)")
    ax.set_ylabel("share correct")
    ax.legend(frameon=False, loc="best")
    _save(figure, path)


def memory_over_time(view: MemoryView, path: pathlib.Path) -> None:
    """Where a sequence was written in memory and read back, 1600 pixels wide.

    From the top: input, target and prediction; for each head the weight of writes times
    their strength and the weight of reads, with the pointers of location heads and a tint
    on slots that have been written; the experts chosen. Slots above the last one touched
    are not drawn.
    """
    heads = view.write_weights.shape[0]
    drawn = [_slots_drawn(view, head) for head in range(heads)]
    heights = [0.66]
    for slots in drawn:
        heights += [float(np.clip(0.04 * slots, 0.8, 2.3 if heads == 1 else 1.5))] * 2
    if view.experts is not None:
        heights.append(0.17 * view.experts.shape[1])
    top, gap, bottom = 0.72, 0.36, 0.55
    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = Figure((10.0, total), dpi=160)
    all_axes, edge = [], total - top
    for height in heights:
        box = (0.085, (edge - height) / total, 0.9, height / total)
        all_axes.append(figure.add_axes(box, sharex=all_axes[0] if all_axes else None))
        edge -= height + gap

    _symbols(all_axes[0], view)
    for head in range(heads):
        _head(all_axes[1 + 2 * head : 3 + 2 * head], view, head, drawn[head])
    if view.experts is not None:
        _experts(all_axes[-1], view)
    starts = np.flatnonzero(np.diff(view.scored.astype(int), prepend=0) == 1)
    for ax in all_axes:
        ax.tick_params(labelbottom=ax is all_axes[-1])
        for start in starts if len(starts) <= 4 else starts[:1]:
            ax.axvline(start - 0.5, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    ax.set_xlim(-0.5, len(view.tokens) - 0.5)
    ax.set_xlabel("time step (tokens); dashed line: scored from here on")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=14, integer=True))
    right = int((view.predictions == view.targets)[view.scored].sum())
    title = f"{view.layer}: {right} of {int(view.scored.sum())} scored symbols correct"
    figure.text(0.085, 1 - 0.3 / total, title, fontsize=13, weight="bold", color=INK)
    _save(figure, path)


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


def _accesses(view, head):
    """Name, weights [S, T], pointer [T] or None and colours of a head's writes and reads."""
    own = lambda p: p[:, head] if p is not None and head < p.shape[1] else None
    written = view.write_weights[head] * view.strength[:, head]
    return (
        ("write weight × strength", written, own(view.write_pointer), WRITE_MAP),
        ("read weight", view.read_weights[head], own(view.read_pointer), READ_MAP),
    )


def _slots_drawn(view, head):
    """Slots from 0 to the last that this head touches or points at, and one more."""
    touched, slots = [2], view.write_weights.shape[1]
    for _, weights, pointer, _ in _accesses(view, head):
        touched.extend(np.flatnonzero(weights.max(axis=1) > TOUCHED))
        touched.extend([] if pointer is None else np.round(pointer) % slots)
    return min(slots, int(max(touched)) + 2)


def _head(axes, view, head, drawn):
    (_, written, *_), _ = accesses = _accesses(view, head)
    slots = len(written)
    held = np.maximum.accumulate(written[:drawn], axis=1)
    place = {"aspect": "auto", "origin": "lower", "vmin": 0, "vmax": 1}
    place["interpolation"] = "nearest" if drawn <= 128 else "antialiased"
    for ax, (name, weights, pointer, colours) in zip(axes, accesses, strict=True):
        _tidy(ax, grid="y")
        ax.imshow(held, HELD_MAP, **place)
        ax.imshow(weights[:drawn], colours, **place)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        note = "tint: written before"
        if pointer is not None:
            ax.plot(*wrapped(pointer, slots), color=INK, linewidth=0.8)
            note = f"line: pointer, {note}"
        ax.set_ylim(-0.5, drawn - 0.5)
        crop = "" if drawn == slots else f"\n({drawn}–{slots - 1} never\ntouched, not drawn)"
        ax.set_ylabel(f"slot{crop}", fontsize=9)
        ax.set_title(f"head {head} · {name}  ({note})", fontsize=10, loc="left", y=1, pad=4)
        height = 0.09 / (ax.figure.get_figheight() * ax.get_position().height)
        bar = ax.inset_axes((0.89, 1 + height, 0.09, height))
        scale = ScalarMappable(cmap=colours)
        ax.figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=[])
        for x in (0, 1):
            bar.text(1.2 * x - 0.1, 0.45, str(x), ha="center", va="center", fontsize=8)


def _symbols(ax, view):
    """Input, target and prediction, a symbol coloured by its first place in the input."""
    special = {view.blank: (0.89, 0.89, 0.89), view.marker: (0.0, 0.0, 0.0)}
    symbols = [token for token in dict.fromkeys(view.tokens.tolist()) if token not in special]
    shades = SYMBOL_MAP(np.linspace(0, 1, len(symbols)))[:, :3]
    colour = special | dict(zip(symbols, shades, strict=True))
    shown = np.stack([np.ones_like(view.scored), view.scored, view.scored])
    wrong = view.scored & (view.predictions != view.targets)
    cells, labels = np.ones((*shown.shape, 3)), np.full(shown.shape, "", dtype=object)
    rows = np.stack([view.tokens, view.targets, view.predictions])
    for at in zip(*np.nonzero(shown), strict=True):
        token = int(rows[at])
        bad = at[0] == 2 and wrong[at[1]]
        cells[at] = to_rgba_array(RED)[0, :3] if bad else colour.get(token, (0.6, 0.6, 0.6))
        labels[at] = str(token) if bad or token not in special else ""
    _cells(ax, cells, labels, ["input", "target", "prediction"])
    at = np.flatnonzero(wrong)
    ax.plot(at, np.full(len(at), 2.75), "^", color=RED, markersize=4, clip_on=False)
    ax.set_ylim(2.5, -0.5)
    legend = {"symbol, shaded by first appearance": SYMBOL_MAP(0.5)}
    legend |= {n: colour[t] for n in ("blank", "marker") if (t := getattr(view, n)) is not None}
    _legend(ax, legend | {"wrong prediction": RED})


def _experts(ax, view):
    few = view.num_experts <= len(EXPERTS)
    colours = to_rgba_array(EXPERTS if few else SYMBOL_MAP(np.linspace(0, 1, view.num_experts)))
    chosen = view.experts.T
    cells = np.where(chosen[..., None] < 0, 1.0, colours[chosen][..., :3])
    labels = np.where(chosen < 0, "", chosen.astype(str))
    _cells(ax, cells, labels, [f"choice {k + 1}" for k in range(len(chosen))])
    ax.set_title("experts chosen", fontsize=10, loc="left", y=1, pad=4)
    some = np.unique(np.linspace(0, view.num_experts - 1, 12).astype(int))
    _legend(ax, {str(e): colours[e] for e in some})


def _cells(ax, colours, labels, names):
    """Rows of coloured cells [rows, T, 3] with their labels, where these fit."""
    _tidy(ax)
    rows, length = labels.shape
    ax.imshow(colours, aspect="auto", interpolation="nearest")
    ax.hlines(np.arange(1, rows) - 0.5, -0.5, length - 0.5, color="white", linewidth=1.5)
    ax.set_yticks(range(rows), names, fontsize=9)
    width = 648 / length  # points
    upright = width > 5 * max(map(len, labels.flat))
    size = 7 if upright else min(7, 0.9 * width)
    style = {"rotation": 0 if upright else 90, "fontsize": size, "ha": "center"}
    for (row, t), text in np.ndenumerate(labels):
        if text and size >= 4:
            ink = "white" if colours[row, t] @ (0.3, 0.6, 0.1) < 0.5 else INK
            ax.text(t, row, text, va="center_baseline", color=ink, **style)


def _legend(ax, colours):
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    style = {"frameon": False, "fontsize": 8.5, "handlelength": 1, "handleheight": 1}
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    ax.legend(handles=handles, ncols=len(handles), columnspacing=1.2, **style, **place)


def _curve(ax, rows, key, colour):
    """Draws one key of the rows; returns whether there was anything to draw."""
    values = {row["step"]: row[key] for row in rows if key in row}
    series = np.array(sorted(values.items()), float).reshape(-1, 2)
    series = series[np.isfinite(series[:, 1])]
    if not len(series):
        return False
    bins = np.array_split(series, min(len(series), BINS))
    steps, mean = np.array([part.mean(axis=0) for part in bins]).T
    marker = {"marker": "o", "markersize": 4} if len(series) <= MARKED else {}
    ax.plot(steps, mean, color=colour, label=key, linewidth=1.6, **marker)
    if len(series) > BINS:
        low, high = np.array([(part[:, 1].min(), part[:, 1].max()) for part in bins]).T
        ax.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    return True


def _tidy(ax, grid=None):
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(color="#999999", labelsize=9)
    if grid:
        ax.grid(axis=grid, color=GREY, linewidth=0.6)
        ax.set_axisbelow(True)


def _save(figure, path):
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format="png")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
