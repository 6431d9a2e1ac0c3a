"""The results of a sequence task, as a table that adds up and as entries of a summary."""

import io

from rich.console import Console

from mocanet_jax.training import sequence_report
from mocanet_jax.training.sequence_report import Results

METRICS = {"accuracy": 0.75, "exact_match": 0.5, "usage": 0.25, "sequences": 32.0}


def printed(*arguments):
    console = Console(file=io.StringIO(), width=100)
    sequence_report.show(console, *arguments)
    return console.file.getvalue()


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_results_mark_what_lies_beyond_training():
    """Otherwise an extrapolation reads like a result on the range of training."""
    far = METRICS | {"accuracy": 0.125, "sequences": 4.0}
    results = Results(METRICS, {10: METRICS, 61: far})
    rows = [cells(line) for line in printed(results, (10, 60)).splitlines()]
    assert ["10 to 60", "75.00%", "50.00%", "25.00%", "32"] in rows
    assert ["10", "75.00%", "50.00%", "25.00%", "32"] in rows
    assert ["61", "(beyond training)", "12.50%", "50.00%", "25.00%", "4"] in rows
