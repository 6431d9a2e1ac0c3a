"""Pictures of a study: what ablations reach, and a score against compute.

Points are means over seeds, bars the range of the seeds, small dots single seeds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mocanet_jax.report.pictures import BLUE, GREEN, INK, ORANGE, PURPLE, save, tidy
from mocanet_jax.studies.study import EXACT_MATCH, Row, Score, Spread
from mocanet_jax.studies.variants import CONTROL

COSTS = {
    "flops_per_token": "realised forward FLOPs per token (thousands)",
    "milliseconds_per_step": "milliseconds per training step",
}
NOTE = "mark: mean · bar: lowest to highest seed · small dots: single seeds"
CLOSE = 0.08  # of the extent of all marks: labels would overlap
SCALE = {"flops_per_token": 1e-3, "milliseconds_per_step": 1.0}


def ablation(rows: list[Row], path: Path) -> None:
    """A line for each variant and a panel for each score, with the mean in figures. The
    dashed line is the control's mean."""
    has = lambda score: any(score.name in row.measured for row in rows)
    scores = [rows[0].score] + ([EXACT_MATCH] if has(EXACT_MATCH) else [])
    figure = Figure((9.0, 1.2 + 0.42 * len(rows)), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for ax, score in zip(panels, scores, strict=True):
        tidy(ax)
        ax.set_xlabel(score.heading, fontsize=10)
        measured = {p: r.measured[score.name] for p, r in enumerate(rows) if has(score)}
        for place, spread in measured.items():
            _line(ax, place, spread, score, rows[place].variant.name == CONTROL)
        ax.set_xlim(*_limits(measured.values(), score))
    panels[0].set_yticks(range(len(rows)), [row.variant.name for row in rows], fontsize=10)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)


def _line(ax, place, spread, score, is_control):
    colour = ORANGE if is_control else BLUE
    mean, *ends = score.scale * np.array([spread.mean, spread.lowest, spread.highest])
    if is_control:
        ax.axvline(mean, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
    if len(spread.values) > 1:
        ax.plot(ends, [place, place], color=colour, linewidth=2.2, alpha=0.6)
        seeds = score.scale * np.array(spread.values)
        ax.plot(seeds, np.full(len(seeds), place + 0.25), "o", color=INK, markersize=2.5)
    ax.plot(mean, place, "o", color=colour, markersize=7, zorder=3)
    low, high = score.text(spread.lowest), score.text(spread.highest)
    seeds = f" ({low} to {high})" if len(spread.values) > 1 else ""
    beside = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 9}
    ax.text(1.01, place, f"{score.text(spread.mean)}{seeds}", **beside)


def _limits(spreads: Iterable[Spread], score: Score) -> tuple[float, float]:
    """The range of an axis: all seeds and a margin."""
    values = [score.scale * value for spread in spreads for value in spread.values]
    low, high = min(values), max(values)
    middle, width = (low + high) / 2, max(high - low, score.least_range)
    return middle - 0.55 * width, middle + 0.55 * width


def budgets(rows: list[Row], path: Path) -> None:
    """The score against realised FLOPs per token and against time per training step, a series
    for each way of choosing experts; a point is named by its target or its K."""
    score = rows[0].score
    figure = Figure((9.0, 4.6), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for ax, (cost, label) in zip(panels, COSTS.items(), strict=True):
        tidy(ax)
        ax.set_xlabel(label, fontsize=10)
        of = lambda kind: [row for row in rows if row.variant.settings["routing"] == kind]
        extent = np.maximum(np.ptp(_points(rows, cost), axis=0), 1e-9)
        for kind, style in STYLES.items():
            _series(ax, cost, of(kind), style, extent)
        ax.margins(x=0.12)
    panels[0].set_ylabel(score.heading, fontsize=10)
    panels[0].set_ylim(*_limits([row.measured[score.name] for row in rows], score))
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(STYLES),
        frameon=False,
    )
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)


def _points(rows, cost):
    """Means of cost and score as they are drawn, [rows, 2]."""
    spent = [SCALE[cost] * row.measured[cost].mean for row in rows]
    reached = [row.score.scale * row.measured[row.score.name].mean for row in rows]
    return np.stack([spent, reached], axis=1)


class Style(NamedTuple):
    """label_place: of a mark's label, in points from the mark."""

    colour: str
    line: str
    name: str
    label_place: tuple[int, int]


STYLES = {
    "dynamic": Style(BLUE, "o-", "dynamic, by target", (5, 5)),
    "topk": Style(ORANGE, "s--", "fixed, by K", (5, -13)),
    "smaller": Style(GREEN, "^:", "one smaller expert, by target", (5, 5)),
    "random": Style(PURPLE, "x-.", "by chance, by target", (5, 5)),
}
"""By the routing of a variant's settings."""


def _series(ax, cost, rows, style, extent):
    """extent: of all marks, [2]."""
    if not rows:
        return
    colour, line, name, label_place = style
    spent = [row.measured[cost] for row in rows]
    reached, scale = [row.measured[row.score.name] for row in rows], rows[0].score.scale
    points = _points(rows, cost)
    x, y = points.T
    bars = {"xerr": SCALE[cost] * _ranges(spent), "yerr": scale * _ranges(reached)}
    ax.errorbar(x, y, **bars, fmt=line, color=colour, label=name, elinewidth=1, capsize=2)
    for one, other in zip(spent, reached, strict=True):
        seeds = SCALE[cost] * np.array(one.values), scale * np.array(other.values)
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


def _ranges(spreads):
    """Distances from the mean to the lowest and to the highest seed, [2, spreads]."""
    return np.array([(one.mean - one.lowest, one.highest - one.mean) for one in spreads]).T
