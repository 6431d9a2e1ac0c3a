"""Pictures of a classifier's evaluation as PNG files."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mocanet_jax.training.calibration import Reliability
from mocanet_jax.training.pictures import BLUE, GREY, INK, ORANGE, save, tidy


def reliability(bins: Reliability, metrics: dict[str, float], path: Path) -> None:
    """Accuracy against confidence, one bar a bin, and below it the share of texts per bin."""
    count = len(bins.share)
    edges = np.linspace(0, 1, count + 1)
    figure = Figure((6.0, 6.4), dpi=160, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for ax in (top, bottom):
        tidy(ax)
    style = {"width": 1 / count, "align": "edge", "edgecolor": "white"}
    top.bar(edges[:-1], np.nan_to_num(bins.accuracy), color=BLUE, label="accuracy", **style)
    gap = bins.confidence - bins.accuracy
    top.bar(
        edges[:-1],
        np.nan_to_num(gap),
        bottom=np.nan_to_num(bins.accuracy),
        color=ORANGE,
        alpha=0.45,
        label="confidence − accuracy",
        **style,
    )
    top.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfectly calibrated")
    top.set(ylabel="share correct", ylim=(0, 1.02))
    top.set_title(
        f"expected calibration error {metrics['ece']:.3f}, accuracy {metrics['accuracy']:.1%}",
        fontsize=11,
    )
    top.legend(frameon=False, loc="upper left", fontsize=9)
    bottom.bar(edges[:-1], bins.share, color=BLUE, **style)
    lowest = edges[np.flatnonzero(bins.share)[0]]
    bottom.set(xlabel="confidence", ylabel="share of texts", xlim=(lowest, 1))
    save(figure, path)


def accuracy_by_length(by_length: dict[int, tuple[float, int]], step: int, path: Path) -> None:
    """Accuracy by number of tokens, with the interval of two standard errors.

    by_length: longest number of tokens in a group → accuracy and number of texts.
    step: numbers of tokens in a group.
    """
    ends = np.array(sorted(by_length))
    accuracy, texts = np.array([by_length[end] for end in ends]).T
    error = 2 * np.sqrt(accuracy * (1 - accuracy) / texts)
    low, high = np.minimum(error, accuracy), np.minimum(error, 1 - accuracy)
    figure = Figure((8.0, 4.0), dpi=160, layout="constrained")
    ax = figure.subplots()
    tidy(ax)
    names = [
        f"{end - step + 1}–{end}\n{count:.0f} texts"
        for end, count in zip(ends, texts, strict=True)
    ]
    ax.bar(names, accuracy, color=BLUE)
    ax.errorbar(range(len(ends)), accuracy, (low, high), fmt="none", ecolor=INK, capsize=3)
    ax.axhline(
        np.average(accuracy, weights=texts), color=ORANGE, linestyle="--", label="all texts"
    )
    ax.set(xlabel="tokens", ylabel="accuracy", ylim=(0, 1))
    ax.tick_params(axis="x", labelsize=8, grid_color=GREY)
    ax.legend(frameon=False, loc="lower right")
    save(figure, path)
