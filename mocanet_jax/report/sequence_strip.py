"""The symbols of one sequence over time, on top of other pictures of it.

Axes: T time.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mocanet_jax.report.pictures import (
    DARK_GREY,
    GREY,
    INK,
    RED,
    SYMBOL_MAP,
    legend_above,
    patches,
    tidy,
)


class Answered(NamedTuple):
    """One sequence and what was predicted of it."""

    tokens: np.ndarray  # int [T]
    targets: np.ndarray  # int [T]
    predictions: np.ndarray  # int [T]
    scored: np.ndarray  # bool [T], where targets count
    blank: int | None = 0  # the token that stands for nothing, if there is one
    marker: int | None = None  # the token that starts the answer, if there is one
    name: Callable[[int], str] = str  # of a token, as a reader knows it

    @property
    def result(self) -> str:
        right = int((self.predictions == self.targets)[self.scored].sum())
        return f"{right} of {int(self.scored.sum())} scored symbols correct"

    @property
    def starts(self) -> np.ndarray:
        """Steps from which on it is scored, int; of many the first."""
        starts = np.flatnonzero(np.diff(self.scored.astype(int), prepend=0) == 1)
        return starts if len(starts) <= 4 else starts[:1]


def over_time(
    sequence: Answered, heights: list[float], title: str, note: str = ""
) -> tuple[Figure, list[Axes]]:
    """A figure with the sequence's symbols on top and axes of these heights, in inches, below,
    which share its time. note: below the title."""
    heights = [0.66, *heights]
    top, gap, bottom = 0.95 if note else 0.72, 0.36, 0.55  # inches, as the heights
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
    figure.text(0.085, 1 - 0.5 / total, note, fontsize=9, color=DARK_GREY)
    return figure, axes


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
    colours, labels = np.ones((*shown.shape, 3)), np.full(shown.shape, "", dtype=object)
    for at in zip(*np.nonzero(shown), strict=True):
        token = int(tokens[at])
        colours[at] = to_rgb(RED) if wrong[at] else colour.get(token, to_rgb("grey"))
        labels[at] = sequence.name(token) if wrong[at] or token not in special else ""
    cells(ax, colours, labels, ["input", "target", "prediction"])
    times = np.flatnonzero(wrong[2])
    ax.plot(times, np.full(len(times), 2.75), "^", color=RED, markersize=4, clip_on=False)
    ax.set_ylim(2.5, -0.5)
    legend = {"symbol, shaded by first appearance": SYMBOL_MAP(0.5)}
    legend |= {
        n: colour[t] for n in ("blank", "marker") if (t := getattr(sequence, n)) is not None
    }
    legend_above(ax, patches(legend | {"wrong prediction": RED}))


def cells(ax: Axes, colours: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    """Rows of coloured cells with their labels, where these fit.

    colours: float [rows, T, 3]. labels: str [rows, T]. names: of the rows.
    """
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
