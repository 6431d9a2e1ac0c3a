"""Pictures of a classifier as PNG files: its evaluation, and what the words of texts cost."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from mocanet_jax.evaluate.calibration import Reliability
from mocanet_jax.evaluate.spending import Spending
from mocanet_jax.report.pictures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PARTS,
    patches,
    percent,
    percent_axis,
    save,
    target_line,
    tidy,
)

SHOWN_WORDS = 120
"""Of one text; a picture of more is too high to be read."""

LABEL_LENGTH = 24
"""Characters of a word that are drawn."""

BAR_WIDTH = 0.16
"""In inches."""

NORMAL_95 = 1.96
"""Standard deviations that hold 95 % of a normal distribution."""

FONT = FontProperties(family="DejaVu Sans", size=9)


class SpentText(NamedTuple):
    """A text of L words and what they cost, float [L]. decision: that of the classifier."""

    words: list[str]
    spending: Spending
    decision: str


def reliability(bins: Reliability, metrics: dict[str, float], path: Path) -> None:
    """Accuracy and mean confidence, a bar and a line for each bin of confidence, and below them
    the share of texts per bin."""
    count = len(bins.share)
    edges = np.linspace(0, 1, count + 1)
    figure = Figure((6.0, 6.4), dpi=160, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for ax in (top, bottom):
        tidy(ax)
    bar = {"width": 1 / count, "align": "edge", "edgecolor": "white"}
    top.bar(edges[:-1], np.nan_to_num(bins.accuracy), color=BLUE, label="accuracy", **bar)
    line = {"color": ORANGE, "linewidth": 3, "label": "mean confidence"}
    top.hlines(bins.confidence, edges[:-1], edges[1:], **line)
    top.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfectly calibrated")
    top.set(ylabel="share correct", ylim=(0, 1.02))
    top.set_title(
        f"expected calibration error {metrics['ece']:.3f}, accuracy {metrics['accuracy']:.1%}",
        fontsize=11,
    )
    style = {"frameon": False, "fontsize": 9, "handlelength": 1.6, "columnspacing": 1.4}
    figure.legend(loc="outside upper center", ncols=3, **style)
    bottom.bar(edges[:-1], bins.share, color=BLUE, **bar)
    lowest = edges[np.flatnonzero(bins.share)[0]]
    bottom.set(xlabel="confidence", ylabel="share of texts", xlim=(lowest, 1))
    save(figure, path)


def accuracy_by_length(by_length: dict[int, tuple[float, int]], step: int, path: Path) -> None:
    """Accuracy by number of tokens, with its 95 % interval.

    by_length: longest number of tokens in a group → accuracy and number of texts.
    step: numbers of tokens in a group.
    """
    ends = np.array(sorted(by_length))
    accuracy, texts = np.array([by_length[end] for end in ends]).T
    low, high = interval(accuracy, texts)
    figure = Figure((8.0, 4.0), dpi=160, layout="constrained")
    ax = figure.subplots()
    tidy(ax)
    names = [
        f"{end - step + 1}–{end}\n{count:.0f} texts"
        for end, count in zip(ends, texts, strict=True)
    ]
    ax.bar(names, accuracy, color=BLUE)
    reach = (accuracy - low, high - accuracy)
    bars = ax.errorbar(range(len(ends)), accuracy, reach, fmt="none", ecolor=INK, capsize=3)
    mean = np.average(accuracy, weights=texts)
    line = ax.axhline(mean, color=ORANGE, linestyle="--")
    ax.set(xlabel="tokens", ylabel="accuracy", ylim=(0, 1))
    ax.tick_params(axis="x", labelsize=8, grid_color=GREY)
    names = [f"all {texts.sum():,.0f} texts: {mean:.1%}", "95 % interval of each length"]
    style = {"frameon": False, "fontsize": 9}
    figure.legend([line, bars], names, loc="outside upper right", ncols=2, **style)
    save(figure, path)


def interval(accuracy: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the 95 % interval of a share of few or many, by the score test
    (Wilson, 1927), which also holds where all or none of two are right.

    accuracy: float [N] in [0, 1]. texts: float [N], at least 1.
    """
    spread = NORMAL_95**2 / texts
    middle = (accuracy + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (accuracy * (1 - accuracy) + spread / 4)) / (1 + spread)
    return np.clip(middle - half, 0, accuracy), np.clip(middle + half, accuracy, 1)


def spending(texts: list[SpentText], target: float | None, path: Path) -> None:
    """What the words of texts cost, by part: a bar above each word, one scale for all texts.

    A word without a bar is pale. target: share of the full compute, None where there is none.
    """
    left, width, top, title, bars, line = 0.75, 9.1, 0.62, 0.36, 0.55, 0.92  # inches
    lines = [laid_out(text.words[:SHOWN_WORDS], width) for text in texts]
    total = top + sum(title + line * len(places) for places in lines)
    figure = Figure((10.0, total), dpi=160)
    highest = max(target or 0, 0.01, *(text.spending.total.max() for text in texts))
    y = top  # from the upper edge, in inches
    for text, places in zip(texts, lines, strict=True):
        figure.text(
            left / 10, 1 - (y + 0.2) / total, _heading(text), fontsize=10, parse_math=False
        )
        y += title
        for place in places:
            ax = figure.add_axes((left / 10, 1 - (y + bars) / total, width / 10, bars / total))
            handles = _words(ax, text, place, target)
            ax.set(xlim=(0, width), ylim=(0, 1.05 * highest))
            y += line
    name = "share of the full compute that each word takes"
    figure.text(left / 10, 1 - 0.3 / total, name, fontsize=13, weight="bold", color=INK)
    style = {"frameon": False, "fontsize": 9, "handlelength": 1.2, "columnspacing": 1.2}
    corner = {"loc": "lower right", "bbox_to_anchor": (0.985, 1 - 0.38 / total)}
    figure.legend(handles=handles, ncols=len(handles), borderaxespad=0, **corner, **style)
    save(figure, path)


def laid_out(words: list[str], width: float) -> list[dict[int, float]]:
    """Words side by side in lines of `width`, in inches: for every line the centres of its
    words, by their numbers. A word too wide for any line has one of its own."""
    lines, x = [], np.inf
    for number, word in enumerate(words):
        cell = max(BAR_WIDTH, _label_width(word)) + 0.09
        if x + cell > width:
            lines.append({})
            x = 0.0
        lines[-1][number] = x + cell / 2
        x += cell
    return lines


def label(word: str) -> str:
    """The beginning of a word, with a box for each character that the font lacks."""
    shown = "".join(char if ord(char) in _known() else "□" for char in word[:LABEL_LENGTH])
    return shown if len(word) <= LABEL_LENGTH else f"{shown}…"


@lru_cache
def _known():
    """Numbers of the characters that the font has."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


def _label_width(word):
    """In inches, measured at a resolution at which hinting moves nothing."""
    font, resolution = get_font(findfont(FONT)), 1440
    font.set_size(FONT.get_size(), resolution)
    font.set_text(label(word))
    return font.get_width_height()[0] / 64 / resolution


def _words(ax, text, place, target):
    """One line of a text; returns the legend's handles."""
    tidy(ax)
    numbers, centres, base = list(place), list(place.values()), 0.0
    for part, colour in PARTS.items():
        share = getattr(text.spending, part)[numbers]
        ax.bar(centres, share, BAR_WIDTH, bottom=base, color=colour)
        base = base + share
    for number, centre, share in zip(numbers, centres, base, strict=True):
        ink = INK if share > 0 else "#8A8A8A"
        style = {"ha": "center", "va": "baseline", "parse_math": False, "color": ink}
        at = {"xycoords": ax.get_xaxis_transform(), "fontproperties": FONT}
        ax.annotate(
            label(text.words[number]), (centre, -0.3), annotation_clip=False, **at, **style
        )
    ax.set_xticks([])
    ax.locator_params(axis="y", nbins=3)
    percent_axis(ax)
    return patches(PARTS) + ([] if target is None else [target_line(ax, target)])


def _heading(text):
    count, mean = len(text.words), percent(text.spending.total.mean())
    cut = f" (its first {SHOWN_WORDS} of {count:,} words)" if count > SHOWN_WORDS else ""
    return f"{text.decision}; {mean} of the full compute on average{cut}"
