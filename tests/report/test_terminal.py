"""What a run prints: plain lines where nobody watches, and tables that add up."""

import io
import re

from rich.console import Console

from mocanet_jax.nn.summary import Cost
from mocanet_jax.report.terminal import TrainingDisplay, show_costs

TRAIN = {
    "loss": 0.125,
    "accuracy": 0.875,
    "usage": 0.5,
    "longest": 12.0,
    "tokens_per_second": 2500.0,
}


def printed(show, *arguments, terminal=False):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    show(console, *arguments)
    return console.file.getvalue()


def training(console, metrics=TRAIN):
    display = TrainingDisplay(console)
    with display.training(4, 10):
        display.update(6, metrics)
        display.validated(6, "accuracy 75.00%, exact match 50.00%")


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_log_file_gets_one_plain_line_a_report():
    """Otherwise a log is full of control codes, or of lines cut at the width of a terminal."""
    lines = printed(training).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith(
        "step 6/10  loss 0.1250  accuracy 87.50%  usage 0.50  lengths to 12  2.5k tokens/s  "
    )
    assert lines[0].endswith(" s left at most")
    assert lines[1] == "step 6  validation: accuracy 75.00%, exact match 50.00%"
    assert len([line for line in lines if line.strip()]) == 2


def test_a_task_without_a_curriculum_logs_no_lengths():
    """Otherwise a log has lengths that never grow, or stops a run on texts."""
    texts = {name: value for name, value in TRAIN.items() if name != "longest"}
    line = printed(training, texts).splitlines()[0]
    assert "usage 0.50  2.5k tokens/s" in line
    assert "lengths" not in line


def test_a_terminal_gets_a_bar_and_no_line_for_every_report():
    """Otherwise the bar is broken up by lines."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed(training, terminal=True))
    assert "6/10 loss 0.1250 acc 87.5% usage 0.50 2.5k tok/s" in text
    assert "s left at most" not in text
    assert "validation: accuracy 75.00%" in text


def test_costs_are_listed_and_summed():
    costs = {"router": Cost(1000, 20.0), "experts": Cost(234, 2500.0)}
    rows = [cells(line) for line in printed(show_costs, costs).splitlines()]
    assert ["router", "1,000", "20"] in rows
    assert ["experts", "234", "2,500"] in rows
    assert ["total", "1,234", "2,520"] in rows
