"""Pictures of a run as PNG files: learning curves, accuracy by length, memory over time.

A picture is drawn under a temporary name and then moved, so it is complete or absent.
Colours are those of Okabe and Ito (2008), told apart with any colour vision.

Axes: T time, H memory heads (location heads first, Hl of them), S slots, K active experts.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Patch

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, INK, GREY = "#D00000", "#222222", "#E3E3E3"
EXPERTS = [BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555"]
colour_map = LinearSegmentedColormap.from_list
WRITE_MAP = colour_map("write", ["#56B4E900", "#56B4E9", BLUE])
READ_MAP = colour_map("read", ["#E69F0000", ORANGE, "#D55E00"])
HELD_MAP = colour_map("held", ["#FFFFFF", "#DCECF7"])
SYMBOL_MAP = colour_map("symbol", ["#16325C", "#2E6FA7", "#74B4D4", "#C9DFC0", "#F7DC6F"])
TOUCHED = 0.02  # weight above which a slot counts as written or read


class MemoryView(NamedTuple):
    """What one layer's memory and experts did with one sequence."""

    tokens: np.ndarray  # int [T]
    targets: np.ndarray  # int [T]
    predictions: np.ndarray  # int [T]
    scored: np.ndarray  # bool [T], where targets count
    write_weights: np.ndarray  # float [H, S, T] in [0, 1], dense
    read_weights: np.ndarray  # float [H, S, T] in [0, 1], dense
    strength: np.ndarray  # float [T, H] in [0, 1], β of the write
    write_pointer: np.ndarray | None  # float [T, Hl], in slots, not wrapped; if any
    read_pointer: np.ndarray | None  # float [T, Hl], in slots, not wrapped; if any
    experts: np.ndarray | None  # int [T, K] < num_experts, negative where none; if any
    num_experts: int
    layer: str  # for the title
    blank: int | None = 0  # the token that stands for nothing, if there is one
    marker: int | None = None  # the token that asks for the answer, if there is one


def learning_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Loss, accuracy, usage and curriculum length against the training step.

    rows: lines of metrics.jsonl, each with "step" and any of the keys below: losses,
        shares in [0, 1], and the longest payload in symbols. Of several rows with one
        step the last counts, so that a resumed run replaces what it repeats. Losses ≤ 0
        and values that are not finite are left out. A long series is drawn as the mean
        and the range of 400 bins. ValueError where no row has any of the keys.
    """
    panels = {
        "loss (log scale)": (
            "train/loss",
            "train/task_loss",
            "eval/loss",
            "eval/held_out_loss",
        ),
        "accuracy": (
            "train/accuracy",
            "eval/accuracy",
            "eval/exact_match",
            "eval/held_out_accuracy",
        ),
        "usage (share of full)": ("train/usage", "eval/usage"),
        "longest payload (symbols)": ("train/longest",),
    }
    panels = {name: keys for name, keys in panels.items() if set(keys) & set().union(*rows)}
    if not panels:
        raise ValueError("nothing to draw: no row has a loss, accuracy, usage or length")
    figure = Figure((9.0, 2.2 * len(panels) + 0.5), dpi=160, layout="constrained")
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (label, keys) in zip(all_axes, panels.items(), strict=True):
        tidy(ax)
        ax.set_ylabel(label, fontsize=9)
        for key, colour, width in zip(keys, EXPERTS, (2.4, 1.4, 1.4, 1.4), strict=False):
            _curve(ax, rows, key, color=colour, linewidth=width)
        ax.legend(*ax.get_legend_handles_labels(), frameon=False, loc=(1.01, 0.4), fontsize=9)
        if label.startswith("loss"):
            ax.set_yscale("log")
            low, high = np.log10(ax.get_ylim())
            ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
            ax.yaxis.set_major_formatter("{x:g}")
        else:
            ax.set_ylim(*((0, None) if label.startswith("longest") else (-0.03, 1.03)))
    last = max(1, *(row["step"] for row in rows))
    ax.set(xlabel="training step", xlim=(-0.02 * last, 1.02 * last))
    ax.locator_params(axis="x", nbins=10, integer=True)
    figure.align_ylabels(all_axes)
    save(figure, path)


def accuracy_by_length(
    accuracy: dict[int, float], exact: dict[int, float], trained: tuple[int, int], path: Path
) -> None:
    """Share of symbols and of whole sequences that are right, against payload length.

    accuracy, exact: length in symbols → share in [0, 1].
    trained: shortest and longest payload in training, inclusive.
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
    ax.set(xlabel="payload length (symbols)", xscale="log", ylabel="share correct", ylim=(0, 1))
    ax.set_xlim(min(*lengths, *trained) / 1.15, max(*lengths, *trained) * 1.15)
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.minorticks_off()
    ax.legend(frameon=False, loc="best")
    save(figure, path)


def memory_over_time(view: MemoryView, path: Path) -> None:
    """Where a sequence was written in memory and read back, 1600 pixels wide.

    From the top: input, target, prediction; what each head writes and reads, with the
    pointers of location heads and a tint on slots written before; the experts chosen.
    Slots above the last one that a head touches are not drawn.
    """
    heads = len(view.write_weights)
    heights = [0.66] + [2.3 if heads == 1 else 1.5] * (2 * heads)
    heights += [] if view.experts is None else [0.17 * view.experts.shape[1]]
    top, gap, bottom = 0.72, 0.36, 0.55  # inches, as the heights
    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    place = {"top": 1 - top / total, "bottom": bottom / total, "left": 0.085, "right": 0.985}
    place |= {"height_ratios": heights, "hspace": gap / np.mean(heights)}
    figure = Figure((10.0, total), dpi=160)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=place)
    strip, *axes = grid[:, 0]
    _symbols(strip, view)
    for head in range(heads):
        _head(axes[2 * head : 2 * head + 2], view, head)
    if view.experts is not None:
        _experts(axes[-1], view)
    starts = np.flatnonzero(np.diff(view.scored.astype(int), prepend=0) == 1)
    for ax in (strip, *axes):
        for start in starts if len(starts) <= 4 else starts[:1]:
            ax.axvline(start - 0.5, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    ax.set_xlabel("time step (tokens); dashed line: scored from here on")
    ax.locator_params(axis="x", nbins=14, integer=True)
    right = int((view.predictions == view.targets)[view.scored].sum())
    title = f"{view.layer}: {right} of {int(view.scored.sum())} scored symbols correct"
    figure.text(0.085, 1 - 0.3 / total, title, fontsize=13, weight="bold", color=INK)
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


def _head(axes, view, head):
    """Heat maps of what one head writes (axes[0]) and reads (axes[1])."""
    written, read = view.write_weights[head] * view.strength[:, head], view.read_weights[head]
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
    panels = zip(axes, names, (written, read), pointers, maps, strict=True)
    for ax, name, weights, own, colours in panels:
        tidy(ax)
        ax.imshow(held[:drawn], HELD_MAP, **heat)
        ax.imshow(weights[:drawn], colours, zorder=1, **heat)
        for pointer in own:
            ax.plot(*wrapped(pointer, slots), color=INK, linewidth=0.8)
        ax.set(ylabel=f"slot{crop}", ylim=(-0.5, drawn - 0.5))
        ax.locator_params(axis="y", nbins=5, integer=True)
        note = f"({'line: pointer, ' * len(own)}tint: written before)"
        ax.set_title(f"head {head} · {name}  {note}", fontsize=10, loc="left", y=1, pad=4)
        height = 0.09 / (ax.figure.get_figheight() * ax.get_position().height)
        bar = ax.inset_axes((0.88, 1 + height, 0.1, height), xticks=[], yticks=[])
        bar.imshow(np.linspace(0, 1, 64)[None], colours, aspect="auto", extent=(0, 1, 0, 1))
        bar.text(-0.03, 0.45, "0", ha="right", va="center", fontsize=8)
        bar.text(1.03, 0.45, "1", ha="left", va="center", fontsize=8)


def _symbols(ax, view):
    """Input, target and prediction, a symbol coloured by its first place in the input."""
    special = {view.blank: to_rgb(GREY), view.marker: to_rgb("black")}
    symbols = [token for token in dict.fromkeys(view.tokens.tolist()) if token not in special]
    shades = SYMBOL_MAP(np.linspace(0, 1, len(symbols)))[:, :3]
    colour = special | dict(zip(symbols, shades, strict=True))
    shown = np.stack([np.ones_like(view.scored), view.scored, view.scored])
    tokens = np.stack([view.tokens, view.targets, view.predictions])
    wrong = shown & (tokens != view.targets) & np.array([[False], [False], [True]])
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
    legend |= {n: colour[t] for n in ("blank", "marker") if (t := getattr(view, n)) is not None}
    _legend(ax, legend | {"wrong prediction": RED})


def _experts(ax, view):
    few, chosen = view.num_experts <= len(EXPERTS), view.experts.T
    colours = to_rgba_array(EXPERTS if few else SYMBOL_MAP(np.linspace(0, 1, view.num_experts)))
    cells = np.where(chosen[..., None] < 0, 1.0, colours[chosen][..., :3])
    labels = np.where(few | (chosen < 0), "", chosen.astype(str))
    _cells(ax, cells, labels, [f"choice {k + 1}" for k in range(len(chosen))])
    scale = "" if few else f" (0 dark, {view.num_experts - 1} light)"
    ax.set_title(f"experts chosen{scale}", fontsize=10, loc="left", y=1, pad=4)
    _legend(ax, {str(e): colours[e] for e in range(view.num_experts) if few})


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


def _legend(ax, colours):
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    style = {"frameon": False, "fontsize": 8.5, "handlelength": 1, "handleheight": 1}
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    ax.legend(handles=handles, ncols=len(handles), columnspacing=1.2, **style, **place)


def _curve(ax, rows, key, color, linewidth):
    values = {row["step"]: row[key] for row in rows if key in row}
    floor = 0 if key.endswith("loss") else -np.inf
    series = [pair for pair in sorted(values.items()) if floor < pair[1] < np.inf]
    if series:
        bins = np.array_split(np.array(series, float), min(len(series), 400))
        steps, mean = np.array([part.mean(axis=0) for part in bins]).T
        low, high = np.array([(part[:, 1].min(), part[:, 1].max()) for part in bins]).T
        dots = "o-" if len(series) <= 40 else "-"
        ax.plot(steps, mean, dots, color=color, linewidth=linewidth, label=key, markersize=4)
        ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)


def tidy(ax) -> None:
    """Light axes and a grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(color="#999999", labelsize=9, grid_color=GREY, grid_linewidth=0.6)
    ax.grid(True)
    ax.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format="png")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
