"""A picture of a suite of tasks: accuracy by length, a panel a task and a line a model."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from mocanet_jax.report.curves import RUNS
from mocanet_jax.report.pictures import GREY, percent_axis, save, tidy
from mocanet_jax.studies.task_suite import Reached

PANELS_A_ROW = 4


def accuracy_by_length(rows: list[Reached], path: Path) -> None:
    """The best seed of each model; the band is the range of lengths trained on."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    across = min(PANELS_A_ROW, len(tasks))
    down = math.ceil(len(tasks) / across)
    figure = Figure((1 + 2.8 * across, 0.9 + 2.2 * down), dpi=160, layout="constrained")
    panels = list(figure.subplots(down, across, sharey=True, squeeze=False).flat)
    for ax in panels[len(tasks) :]:
        ax.remove()
    lines = {}
    for ax, task in zip(panels, tasks, strict=False):
        of_task = [row for row in rows if row.task == task]
        tidy(ax)
        percent_axis(ax)
        ax.set_title(task, fontsize=10)
        ax.axvspan(*of_task[0].trained_on, color=GREY, linewidth=0)
        ax.set(xscale="log", ylim=(-0.03, 1.03))
        ax.minorticks_off()
        ax.xaxis.set_major_formatter("{x:g}")
        for row in of_task:
            colour = RUNS[models.index(row.model) % len(RUNS)]
            by_length = row.best["eval/accuracy_by_length"]
            lengths = sorted(map(int, by_length))
            points = [by_length[str(length)] for length in lengths]
            style = {"color": colour, "linewidth": 1.5, "markersize": 3}
            (lines[row.model],) = ax.plot(lengths, points, "o-", **style)
    figure.legend(
        [lines[model] for model in models],
        models,
        loc="outside upper center",
        ncols=len(models),
        frameon=False,
    )
    figure.supylabel("accuracy", fontsize=10)
    figure.supxlabel(
        "length · grey: trained on · the seed of lowest validation loss", fontsize=9
    )
    save(figure, path)
