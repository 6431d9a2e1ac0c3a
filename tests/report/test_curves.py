"""Curves over training: complete pictures of any run that show every metric and every run."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mocanet_jax.report import curves, pictures
from tests.report.drawing import axes_of, drawn

RUN = curves.Run("copy, moca, seed 0", 0.3, 50)
FREE = RUN._replace(target=None)


def training_rows(steps, usage=0.4):
    """Of a run with two experts, validated every 50 steps."""
    for step in range(1, steps + 1):
        loss = 4.8 * np.exp(-step / 100) + 0.01
        yield {"step": step, "train/loss": loss, "train/task_loss": 0.9 * loss}
        yield {"step": step, "train/accuracy": 1 - loss / 5, "train/multiplier": 0.02 * step}
        yield {"step": step, "train/longest": 4 * 2 ** min(step // 50, 4)}
        yield {
            "step": step,
            "train/usage": usage,
            "train/usage_experts": 0.3,
            "train/usage_writes": 0.5,
            "train/usage_reads": 0.6,
            "train/load_of_expert_0": 0.75,
            "train/load_of_expert_1": 0.25,
            "train/tokens_with_0_experts": 0.25,
            "train/tokens_with_1_experts": 0.75,
        }
        if step % 50 == 0:
            yield {"step": step, "eval/accuracy": 1 - loss / 5, "eval/exact_match": 0.5}


def validated(step, loads, counts):
    """One row of validation, with shares of the load and of tokens."""
    load = {f"eval/load_of_expert_{n}": share for n, share in enumerate(loads)}
    tokens = {f"eval/tokens_with_{n}_experts": share for n, share in enumerate(counts)}
    return {"step": step} | load | tokens


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


@pytest.fixture
def axes(monkeypatch, path):
    return axes_of(curves, monkeypatch, path)


@pytest.mark.parametrize(
    "rows",
    [
        list(training_rows(200)),
        [{"step": 1, "train/loss": 4.8}],
        [{"step": 0, "eval/accuracy": 0.0}],
        [{"step": 1, "train/loss": 0.0, "train/accuracy": 1.0}],
        [{"step": s, "train/loss": loss} for s, loss in enumerate([1.0, np.nan, np.inf])],
    ],
    ids=["whole run", "one row", "step 0 without a loss", "zero loss", "diverged"],
)
def test_learning_curves_of_any_run(rows, path):
    drawn(curves.learning_curves, rows, RUN, path=path)


def test_learning_curves_of_a_long_run(path):
    rows = [{"step": s, "train/loss": 1 + 0.5 * np.sin(s)} for s in range(100_000)]
    drawn(curves.learning_curves, rows, FREE, path=path)


def test_learning_curves_show_the_metrics_that_are_there(axes):
    rows = list(training_rows(100))
    labels = [ax.get_ylabel() for ax in axes(curves.learning_curves, rows, FREE)]
    assert labels == list(curves.PANELS)
    without = [row for row in rows if not {"train/longest", "train/multiplier"} & set(row)]
    labels = [ax.get_ylabel() for ax in axes(curves.learning_curves, without, FREE)]
    assert labels == [curves.LOSS, curves.ACCURACY, curves.USAGE]


@pytest.mark.parametrize(("target", "highest"), [(None, 0.0), (None, 0.5), (0.3, 0.0)])
def test_a_multiplier_that_nothing_moves_has_no_panel(axes, target, highest):
    """Of a run without a budget a fifth of the picture was a line at 0."""
    rows = [{"step": n, "train/accuracy": 0.5, "train/multiplier": n * highest} for n in (0, 1)]
    panels = axes(curves.learning_curves, rows, curves.Run("a run", target, None))
    assert len(panels) == (1 if target is None and not highest else 2)


@pytest.mark.parametrize("evaluated", [None, 0, 50])
def test_learning_curves_name_the_run_and_mark_the_evaluated_checkpoint(axes, evaluated):
    """Else nobody knows of which run they are, and which step the reported numbers are of."""
    run = RUN._replace(title="a $ of task_x, moca, seed 3", evaluated=evaluated)
    panels = axes(curves.learning_curves, list(training_rows(100)), run)
    figure = panels[0].figure
    assert figure.get_suptitle() == r"a \$ of task_x, moca, seed 3"
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert names == ([] if evaluated is None else [f"evaluated: step {evaluated}"])
    for ax in panels:
        marks = [line for line in ax.lines if [*line.get_xdata()] == [evaluated] * 2]
        assert len(marks) == (0 if evaluated is None else 1)


def test_usage_is_drawn_by_part_and_against_its_target(axes):
    """In the colours that parts have in every picture."""
    run = RUN._replace(evaluated=None)
    panels = axes(curves.learning_curves, list(training_rows(50)), run)
    usage = next(ax for ax in panels if ax.get_ylabel() == curves.USAGE)
    lines = {line.get_label(): line for line in usage.lines}
    heights = {name: set(line.get_ydata()) for name, line in lines.items()}
    assert heights == {
        "experts": {0.3},
        "writes": {0.5},
        "reads": {0.6},
        "total": {0.4},
        "target": {0.3},
    }
    for part, colour in pictures.PARTS.items():
        assert to_hex(lines[part].get_color()) == colour.lower()


def test_rows_of_a_resumed_run_replace_those_they_repeat(path):
    first = [{"step": s, "train/loss": 5.0} for s in (1, 2, 3)]
    again = [{"step": s, "train/loss": 1.0} for s in (2, 3)]
    resumed = drawn(curves.learning_curves, first + again, FREE, path=path)
    np.testing.assert_array_equal(
        resumed, drawn(curves.learning_curves, first[:1] + again, FREE, path=path)
    )


@pytest.mark.parametrize(
    "draw", [lambda *a: curves.learning_curves(a[0], FREE, a[1]), curves.expert_load]
)
def test_curves_of_nothing_say_so_and_leave_nothing(draw, path):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([{"step": 1}], path)
    assert not list(path.parent.iterdir())


def test_a_comparison_has_one_colour_and_name_a_run(axes):
    """Otherwise curves cannot be assigned to runs."""
    runs = {name: (list(training_rows(50, usage)), target) for name, usage, target in NAMED}
    panels = axes(curves.comparison, runs)
    assert [ax.get_ylabel() for ax in panels] == list(curves.COMPARED)
    named, _ = panels[0].figure.legends
    assert [text.get_text().strip().replace(r"\$", "$") for text in named.texts] == list(runs)
    styles = [(line.get_color(), line.get_linestyle()) for line in named.get_lines()]
    assert len(set(styles)) == len(runs)
    usage = panels[list(curves.COMPARED).index(curves.USAGE)]
    of_run = lambda colour: {
        height
        for line in usage.lines
        if line.get_color() == colour
        for height in line.get_ydata()
    }
    assert of_run(styles[0][0]) == {0.1, 0.25}
    assert of_run(styles[1][0]) == {0.2}


def test_runs_that_tell_their_minutes_are_compared_by_them_too(axes):
    """A model of fewer steps a minute would else look better than it is. Rows of older runs,
    without minutes, are compared by steps alone."""
    rows = [{"step": n, "train/task_loss": 3.0 / n, "train/minutes": n / 2} for n in (1, 2, 3)]
    rows += [{"step": 3, "eval/loss": 1.25, "eval/minutes": 1.75}]
    slow = [{**row, "train/minutes": 2 * row.get("train/minutes", 0)} for row in rows[:3]]
    by_step, by_minute = axes(curves.comparison, {"fast": (rows, None), "slow": (slow, None)})
    assert (by_step.get_xlabel(), by_minute.get_xlabel()) == ("training step", "minutes")
    places = [list(line.get_xdata()) for line in by_minute.lines]
    assert places == [[0.5, 1.0, 1.5], [1.75], [1.0, 2.0, 3.0]]
    assert [list(line.get_xdata()) for line in by_step.lines] == [[1, 2, 3], [3], [1, 2, 3]]
    old = [{"step": 1, "train/task_loss": 3.0}]
    assert len(axes(curves.comparison, {"fast": (rows, None), "old": (old, None)})) == 1


def test_losses_within_a_decade_fill_their_panel(axes):
    """On a logarithmic axis of whole decades most of it was empty."""
    rows = [{"step": n, "train/loss": loss} for n, loss in enumerate([3.1, 1.7, 1.3])]
    panel, *_ = axes(curves.learning_curves, rows, FREE)
    low, high = panel.get_ylim()
    assert 1.0 < low < 1.3
    assert 3.1 < high < 3.5
    panel, *_ = axes(curves.learning_curves, [*rows, {"step": 4, "train/loss": 0.02}], FREE)
    assert panel.get_ylim() == pytest.approx((0.01, 10))


NAMED = [("runs/copy", 0.1, 0.25), ("_a $5 run$", 0.2, None), ("longer" * 10, 0.3, 0.5)]


@pytest.mark.parametrize("count", [1, 20])
def test_a_comparison_of_any_number_of_runs(count, path):
    rows = list(training_rows(5))
    runs = {f"{'_$' * (n % 2)}run {n}": (rows[: 4 + n], 0.5) for n in range(count)}
    pixels = drawn(curves.comparison, runs, path=path)
    assert pixels.shape[1] == 1440


def test_twenty_runs_are_distinguishable(axes):
    runs = {f"run {n}": (list(training_rows(2)), None) for n in range(20)}
    lines = axes(curves.comparison, runs)[0].figure.legends[0].get_lines()
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 20


@pytest.mark.parametrize("ended", [True, False], ids=["validated", "not yet validated"])
def test_the_bars_are_the_last_shares(axes, ended):
    """Of validation, where there was one: the load of experts sums to 1, and so do tokens."""
    rows = list(training_rows(3))
    load, counts = ([0.75, 0.25], [0.25, 0.75])
    if ended:
        load, counts = [0.1, 0.9], [0.5, 0.5]
        rows += [validated(3, load, counts), validated(2, [1, 0], [0, 1])]
    *_, bars, _, tokens = axes(curves.expert_load, rows)
    for ax, shares in ((bars, load), (tokens, counts)):
        heights = [bar.get_height() for bar in ax.patches]
        assert heights == shares
        assert sum(heights) == 1
    assert [line.get_ydata()[0] for line in bars.lines] == [0.5], "the fair share"
    assert ("validation" in bars.get_title("left")) == ended


@pytest.mark.parametrize(("experts", "load"), [(1, 0.0), (8, 1.0), (40, 1.0)])
def test_the_load_of_any_number_of_experts(experts, load, path):
    """0 where no expert computes at all."""
    row = validated(1, [load] + [0.0] * (experts - 1), [1 - load, load, 0.0])
    rows = [{key.replace("eval", "train"): share for key, share in row.items()}, row]
    drawn(curves.expert_load, rows, path=path)
