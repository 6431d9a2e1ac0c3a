"""Pictures of a study: what ablations reach, and accuracy against compute.

Points are means over seeds, bars the range of the seeds, small dots single seeds.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mocanet_jax.report.pictures import BLUE, INK, ORANGE, save, tidy
from mocanet_jax.studies.study import Row, Spread
from mocanet_jax.studies.variants import CONTROL

SCORES = {"accuracy": "accuracy, %", "exact_match": "exact match, %"}
COSTS = {
    "flops_per_token": "realised forward FLOPs per token (thousands)",
    "milliseconds_per_step": "milliseconds per training step",
}
NOTE = "mark: mean · bar: lowest to highest seed · small dots: single seeds"
CLOSE = 0.08  # of the extent of all marks: labels would overlap
SCALE = {"flops_per_token": 1e-3, "milliseconds_per_step": 1.0}


def ablation(rows: list[Row], path: Path) -> None:
    """A line for each variant and a panel for each score, in percent, with the mean in
    figures. The dashed line is the control's mean."""
    scores = [name for name in SCORES if any(name in row.measured for row in rows)]
    figure = Figure((9.0, 1.2 + 0.42 * len(rows)), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, scores, strict=True):
        tidy(ax)
        ax.set_xlabel(SCORES[name], fontsize=10)
        for place, row in enumerate(rows):
            if name in row.measured:
                _line(ax, place, row.measured[name], row.variant.name == CONTROL)
        ax.set_xlim(*_limits([row.measured[name] for row in rows if name in row.measured]))
    panels[0].set_yticks(range(len(rows)), [row.variant.name for row in rows], fontsize=10)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)


def _line(ax, place, spread, is_control):
    colour = ORANGE if is_control else BLUE
    mean, ends = 100 * spread.mean, [100 * spread.lowest, 100 * spread.highest]
    if is_control:
        ax.axvline(mean, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
    if len(spread.values) > 1:
        ax.plot(ends, [place, place], color=colour, linewidth=2.2, alpha=0.6)
        seeds = 100 * np.array(spread.values)
        ax.plot(seeds, np.full(len(seeds), place + 0.25), "o", color=INK, markersize=2.5)
    ax.plot(mean, place, "o", color=colour, markersize=7, zorder=3)
    seeds = f" ({ends[0]:.2f} to {ends[1]:.2f})" if len(spread.values) > 1 else ""
    beside = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 9}
    ax.text(1.01, place, f"{mean:.2f}{seeds}", **beside)


def _limits(spreads: list[Spread]) -> tuple[float, float]:
    """The range of a panel in percent: all seeds and a margin; at least 2 points wide."""
    values = [value for spread in spreads for value in spread.values]
    low, high = min(values), max(values)
    middle, width = 50 * (low + high), max(100 * (high - low), 2.0)
    return middle - 0.55 * width, middle + 0.55 * width


def budgets(rows: list[Row], path: Path) -> None:
    """Accuracy against realised FLOPs per token and against time per training step, dynamic
    routing and a fixed choice as two series; a point is named by its target or its K."""
    figure = Figure((9.0, 4.6), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for ax, (cost, label) in zip(panels, COSTS.items(), strict=True):
        tidy(ax)
        ax.set_xlabel(label, fontsize=10)
        of = lambda kind: [row for row in rows if row.variant.settings["routing"] == kind]
        extent = np.maximum(np.ptp(_points(rows, cost), axis=0), 1e-9)
        _series(ax, cost, of("dynamic"), DYNAMIC, extent)
        _series(ax, cost, of("topk"), FIXED, extent)
        ax.margins(x=0.12)
    panels[0].set_ylabel("accuracy, %", fontsize=10)
    panels[0].set_ylim(*_limits([row.measured["accuracy"] for row in rows]))
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)


def _points(rows, cost):
    """Means of cost and accuracy as they are drawn, [rows, 2]."""
    spent = SCALE[cost] * _means([row.measured[cost] for row in rows])
    return np.stack([spent, 100 * _means([row.measured["accuracy"] for row in rows])], axis=1)


class Style(NamedTuple):
    """label_place: of a mark's label, in points from the mark."""

    colour: str
    line: str
    name: str
    label_place: tuple[int, int]


DYNAMIC = Style(BLUE, "o-", "dynamic, by target", (5, 5))
FIXED = Style(ORANGE, "s--", "fixed, by K", (5, -13))


def _series(ax, cost, rows, style, extent):
    """extent: of all marks, [2]."""
    if not rows:
        return
    colour, line, name, label_place = style
    spent = [row.measured[cost] for row in rows]
    reached = [row.measured["accuracy"] for row in rows]
    points = _points(rows, cost)
    x, y = points.T
    bars = {"xerr": SCALE[cost] * _ranges(spent), "yerr": 100 * _ranges(reached)}
    ax.errorbar(x, y, **bars, fmt=line, color=colour, label=name, elinewidth=1, capsize=2)
    for one, other in zip(spent, reached, strict=True):
        seeds = SCALE[cost] * np.array(one.values), 100 * np.array(other.values)
        ax.plot(*seeds, "o", color=INK, markersize=2, zorder=3)
    for at, text in _labels(rows, points, extent):
        ax.annotate(
            text,
            at,
            label_place,
            textcoords="offset points",
            color=colour,
            fontsize=10,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=4,
        )


def _labels(rows, points, extent):
    """Places and texts; marks so close that their labels would overlap share one."""
    labels = []
    for row, point in zip(rows, points, strict=True):
        settings = row.variant.settings
        text = f"{settings.get('target_budget', settings.get('top_k_experts')):g}"
        if labels and np.all(np.abs(point - labels[-1][0]) < CLOSE * extent):
            text = f"{labels.pop()[1]}, {text}"
        labels.append((point, text))
    return labels


def _means(spreads):
    return np.array([spread.mean for spread in spreads])


def _ranges(spreads):
    """Distances from the mean to the lowest and to the highest seed, [2, spreads]."""
    return np.array([(one.mean - one.lowest, one.highest - one.mean) for one in spreads]).T
