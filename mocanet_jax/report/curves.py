"""Curves over training, from rows of metrics.jsonl: of a run, its experts, and several runs.

Rows: each has "step" and some metrics. Of several rows with one step the last counts, so that a
resumed run replaces what it repeats. Losses ≤ 0 and values that are not finite are left out.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mocanet_jax.report.pictures import (
    BLUE,
    DARK_GREY,
    EXPERTS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PARTS,
    PURPLE,
    SKY,
    VERMILION,
    colour_map,
    expert_colours,
    percent,
    percent_axis,
    plain_text,
    save,
    target_line,
    tidy,
)

Rows = list[dict[str, float]]
RUNS = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK, "#999999"]
"""Of a comparison; the ninth has the colour of the first in another dash."""

DASHES = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1))]
TARGET_DASH = (0, (1, 2))
EVALUATED_DASH = (0, (4, 2))
LABEL_BOX = {"facecolor": "white", "linewidth": 0, "pad": 0.5}

LOSS, ACCURACY, USAGE = "loss (nats)", "accuracy", "usage (share)"
MULTIPLIER, LENGTH = "multiplier λ (logits)", "longest (symbols)"
DECADE = 10
"""Highest loss over the lowest, from which on their axis is logarithmic."""

SETTLED = 0.06
"""Share of the axis that a comparison of losses does not show whole."""

STEPS, MINUTES = "training step", "minutes"
COUNT_MAP = colour_map("count", [GREY, "#8FD3BE", "#00805D"])


class Line(NamedTuple):
    """How one metric is drawn. width: in points."""

    key: str
    label: str
    colour: str
    width: float = 1.4
    dash: object = "-"


PANELS = {
    LOSS: (
        Line("train/loss", "training, with penalties", SKY, 2.4),
        Line("train/task_loss", "training", DARK_GREY),
        Line("eval/loss", "validation", VERMILION),
        Line("eval/held_out_loss", "held out", PURPLE),
    ),
    ACCURACY: (
        Line("train/accuracy", "training", DARK_GREY),
        Line("eval/accuracy", "validation", VERMILION),
        Line("eval/exact_match", "whole sequences", PURPLE),
        Line("eval/held_out_accuracy", "held out", PURPLE),
    ),
    USAGE: (
        *(Line(f"train/usage_{part}", part, colour) for part, colour in PARTS.items()),
        Line("train/usage", "total", INK, 2.4),
        Line("eval/usage", "total, validation", VERMILION),
    ),
    MULTIPLIER: (Line("train/multiplier", "λ", DARK_GREY),),
    LENGTH: (Line("train/longest", "longest", DARK_GREY),),
}
COMPARED = {
    ACCURACY: ("train/accuracy", "eval/accuracy"),
    LOSS: ("train/task_loss", "eval/loss"),
    USAGE: ("train/usage", "eval/usage"),
    MULTIPLIER: ("train/multiplier",),
}


class Run(NamedTuple):
    """title: of the picture. target: of usage; evaluated: the step of the checkpoint in use;
    None where there is none."""

    title: str
    target: float | None
    evaluated: int | None


def titled(config: Mapping) -> str:
    """A run's title: task, model and seed of its config."""
    return f"{config['task']}, {config['model']['name']}, seed {config['seed']}"


def learning_curves(rows: Rows, run: Run, path: Path) -> None:
    """Loss, accuracy, usage, λ and curriculum length against the training step; a panel each
    where there are any. A line marks the evaluated checkpoint.

    A long series is drawn as the mean and the
    range of 400 bins. ValueError where no row has any of the metrics.
    """
    there = set().union(*rows)
    panels = {
        name: [line for line in lines if line.key in there] for name, lines in PANELS.items()
    }
    panels = {name: lines for name, lines in panels.items() if lines}
    if run.target is None and not any(row.get("train/multiplier") for row in rows):
        panels.pop(MULTIPLIER, None)  # no budget presses
    if not panels:
        raise ValueError("nothing to draw: no row has a loss, accuracy, usage, λ or length")
    figure, grid = _stacked(panels, [rows])
    axes = grid[:, 0]
    figure.suptitle(plain_text(run.title), x=0.01, ha="left", weight="bold", color=INK)
    for (name, lines), ax in zip(panels.items(), axes, strict=True):
        for line in lines:
            _curve(ax, rows, line)
        if name == USAGE and run.target is not None:
            target_line(ax, run.target)
        _limits(ax, name)
        if run.evaluated is not None:
            ax.axvline(run.evaluated, color=INK, linewidth=1.1, linestyle=EVALUATED_DASH)
        handles, labels = ax.get_legend_handles_labels()
        if len(handles) > 1:
            ax.legend(handles, labels, frameon=False, loc=(1.01, 0.2), fontsize=9)
    if run.evaluated is not None:
        name = f"evaluated: step {run.evaluated:,}"
        mark = _handle(name, INK, 1.1, EVALUATED_DASH)
        figure.legend(handles=[mark], loc="outside upper right", frameon=False, fontsize=9)
    save(figure, path)


def comparison(runs: dict[str, tuple[Rows, float | None]], path: Path) -> None:
    """Accuracy, loss, usage and λ of several runs, laid over each other: against the training
    step and, where all have them, against minutes since the start of the process.

    runs: by the names of the legend, the rows of each and its target of usage, None where
        there is none.
    """
    there = set().union(*(row for rows, _ in runs.values() for row in rows))
    panels = {name: keys for name, keys in COMPARED.items() if there & set(keys)}
    if not any(row.get("train/multiplier") for rows, _ in runs.values() for row in rows):
        panels.pop(MULTIPLIER, None)  # no budget presses
    timed = all(any("train/minutes" in row for row in rows) for rows, _ in runs.values())
    over = (STEPS, MINUTES) if timed else (STEPS,)
    figure, grid = _stacked(panels, [rows for rows, _ in runs.values()], over)
    names = []
    for i, (name, (rows, target)) in enumerate(runs.items()):
        colour, dash = RUNS[i % len(RUNS)], DASHES[i // len(RUNS) % len(DASHES)]
        names.append(_handle(plain_text(name), colour, 2.2, dash))
        for (panel, keys), axes in zip(panels.items(), grid, strict=True):
            for key, (x, ax) in itertools.product(keys, zip(over, axes, strict=True)):
                thin = key.startswith("train/") and len(keys) > 1
                line = Line(key, "", colour, 0.7 if thin else 2.2, dash)
                _curve(ax, rows, line, x, band=False)
            if panel == USAGE and target is not None:
                for ax in axes:
                    ax.axhline(target, color=colour, linewidth=1.2, linestyle=TARGET_DASH)
    for panel, axes in zip(panels, grid, strict=True):
        _limits(axes[0], panel)
        if panel == LOSS:
            axes[0].set_ylim(top=_settled(axes[0]))
    widths = [_handle("validation, λ", DARK_GREY, 2.2), _handle("training", DARK_GREY, 0.7)]
    if any(target is not None for _, target in runs.values()):
        widths.append(_handle("target", DARK_GREY, 1.2, TARGET_DASH))
    style = {"frameon": False, "fontsize": 9}
    columns = max(1, 110 // (8 + max(len(handle.get_label()) for handle in names)))
    figure.legend(handles=names, loc="outside upper left", ncols=columns, **style)
    figure.legend(handles=widths, loc="outside lower right", ncols=len(widths), **style)
    save(figure, path)


def expert_load(rows: Rows, path: Path) -> None:
    """Which experts compute: their shares of the load, and how many a token uses, over
    training and at its end, in validation where there was one.

    ValueError where no row has the load of experts.
    """
    trained, validated = (_of_experts(rows, group) for group in ("train", "eval"))
    if not trained:
        raise ValueError("nothing to draw: no row has the load of experts")
    end = f"validation, step {validated[-1].step}" if validated else f"step {trained[-1].step}"
    last = (validated or trained)[-1]
    # A row is the mean of the steps since the row before.
    steps = np.array([0, *(experts.step for experts in trained)])
    counts = np.array([experts.counts for experts in (trained[0], *trained)]).T
    figure = Figure((10.0, 6.4), dpi=160, layout="constrained")
    grid = figure.subplots(2, 2, width_ratios=(2.6, 1), sharey="row")
    colours = expert_colours(len(last.load)), COUNT_MAP(np.linspace(0, 1, len(last.counts)))
    for n, colour in enumerate(colours[0]):
        _curve(grid[0, 0], rows, Line(f"train/load_of_expert_{n}", "", colour, 2), band=False)
    grid[1, 0].stackplot(steps, counts, colors=colours[1], step="pre", linewidth=0)
    for ax, shares, own in zip(grid[:, 1], last[1:], colours, strict=True):
        bars = ax.bar(range(len(shares)), shares, color=own)
        if len(shares) <= len(EXPERTS):
            names = [percent(share) for share in shares]
            ax.bar_label(bars, names, fontsize=8, padding=2, bbox=LABEL_BOX, zorder=4)
        ax.set_title(f"at the end ({end})", fontsize=10, loc="left")
        ax.locator_params(axis="x", integer=True)
    for ax in grid.flat:
        tidy(ax)
        percent_axis(ax)
    for ax in grid[:, 1]:
        ax.grid(False, axis="x")
    for ax in grid[:, 0]:
        ax.set(xlabel="training step", xlim=(0, 1.01 * max(1, steps[-1])))
    fair = 1 / len(last.load)
    for ax in grid[0]:
        ax.axhline(fair, color=INK, linewidth=1.2, linestyle="--")
    highest = max(fair, *(load for experts in (*trained, last) for load in experts.load))
    grid[0, 0].set_ylim(0, 1.12 * highest)
    grid[0, 0].set_title("share of the load (dashed: the fair share)", fontsize=11, loc="left")
    grid[0, 1].set_xlabel("expert")
    grid[1, 0].set_ylim(0, 1.08)
    grid[1, 0].set_title("share of tokens, by the experts they use", fontsize=11, loc="left")
    grid[1, 1].set_xlabel("experts that a token uses")
    save(figure, path)


class OfExperts(NamedTuple):
    """load: share of the load that each expert took, [E], sums to 1, or to 0 where none
    computed. counts: share of tokens that 0, 1, …, K experts computed, [K + 1], sums to 1.
    """

    step: int
    load: np.ndarray
    counts: np.ndarray


def _of_experts(rows, group):
    """OfExperts of every row of a group of metrics, in the order of steps."""
    key = f"{group}/load_of_expert_0"
    by_step = {row["step"]: row for row in rows if key in row}
    return [
        OfExperts(
            step,
            _numbered(row, f"{group}/load_of_expert_{{}}"),
            _numbered(row, f"{group}/tokens_with_{{}}_experts"),
        )
        for step, row in sorted(by_step.items())
    ]


def _numbered(row, key):
    count = next(n for n in itertools.count() if key.format(n) not in row)
    return np.array([row[key.format(n)] for n in range(count)])


def _stacked(
    panels: dict[str, object], runs: Sequence[Rows], over: Sequence[str] = (STEPS,)
) -> tuple[Figure, np.ndarray]:
    """A figure with rows of these names, one below the other, and a column over each of `over`
    of all runs: axes [panels, over]."""
    figure = Figure((9.0 * len(over), 2.2 * len(panels) + 0.5), dpi=160, layout="constrained")
    grid = figure.subplots(len(panels), len(over), sharex="col", sharey="row", squeeze=False)
    for name, axes in zip(panels, grid, strict=True):
        for ax in axes:
            tidy(ax)
        axes[0].set_ylabel(name, fontsize=9)
    for x, ax in zip(over, grid[-1], strict=True):
        ends = [_place(row, key, x) for rows in runs for row in rows for key in row]
        last = max(1e-3 if x == MINUTES else 1, *(end for end in ends if end is not None))
        ax.set(xlabel=x, xlim=(-0.02 * last, 1.02 * last))
        ax.locator_params(axis="x", nbins=10, integer=x == STEPS)
    figure.align_ylabels(grid[:, 0])
    return figure, grid


def _place(row, key, x):
    """Of a metric on the axis x; None where its row does not say."""
    return row["step"] if x == STEPS else row.get(f"{key.split('/')[0]}/minutes")


def _handle(label, colour, width, dash="-"):
    """Of a legend."""
    return Line2D([], [], color=colour, linewidth=width, linestyle=dash, label=label)


def _limits(ax, panel):
    if panel == LOSS:
        heights = np.concatenate([line.get_ydata() for line in ax.lines] or [[1.0]])
        if heights.max() < DECADE * heights.min():
            return
        ax.set_yscale("log")
        low, high = np.log10(ax.get_ylim())
        ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        ax.yaxis.set_major_formatter("{x:g}")
    elif panel in (ACCURACY, USAGE):
        ax.set_ylim(-0.03, 1.03)
    else:
        highest = max(1, ax.get_ylim()[1])
        ax.set_ylim(-0.03 * highest, 1.03 * highest)


def _settled(ax) -> float:
    """A little above the highest value after the first part of the axis, where curves fall so
    far that they would lie together in the rest."""
    begin = SETTLED * ax.get_xlim()[1]
    points = np.concatenate([line.get_xydata() for line in ax.lines])
    later = points[points[:, 0] >= begin, 1]
    high = ax.get_ylim()[1]
    return min(high, later.max() + 0.1 * (later.max() - later.min())) if len(later) else high


def _curve(ax, rows, line, x=STEPS, band=True):
    values = {
        row["step"]: (_place(row, line.key, x), row[line.key])
        for row in rows
        if line.key in row and _place(row, line.key, x) is not None
    }
    floor = 0 if line.key.endswith("loss") else -np.inf
    series = [values[step] for step in sorted(values) if floor < values[step][1] < np.inf]
    if not series:
        return
    bins = np.array_split(np.array(series, float), min(len(series), 400))
    steps, mean = np.array([part.mean(axis=0) for part in bins]).T
    low, high = np.array([(part[:, 1].min(), part[:, 1].max()) for part in bins]).T
    style = {"color": line.colour, "linewidth": line.width, "linestyle": line.dash}
    dots = "o" if len(series) <= 40 else None
    size = 2 + line.width
    ax.plot(steps, mean, marker=dots, label=line.label, markersize=size, **style)
    if band:
        ax.fill_between(steps, low, high, color=line.colour, alpha=0.2, linewidth=0)
