"""The end of a run on the screen and in pictures."""

from rich.console import Console

from mocanet_jax.evaluate.results import TextResults
from mocanet_jax.report import curves
from mocanet_jax.report import sequence as sequence_report
from mocanet_jax.report import text as text_report
from mocanet_jax.runtime.metrics_log import read_metrics
from mocanet_jax.train.config.settings import budget_target
from mocanet_jax.train.result import Result


def report(result: Result, console: Console) -> None:
    """Prints tables of the final evaluation, and draws pictures into the working directory."""
    workdir, evaluator, results = result.workdir, result.evaluator, result.results
    if isinstance(results, TextResults):
        text_report.show(console, results)
        text_report.draw(workdir, results)
    else:
        task = evaluator.task
        sequence_report.show(console, results, (task.shortest, task.longest))
        sequence_report.draw(workdir, evaluator, result.trained, results)
    rows = read_metrics(workdir)
    if rows:
        target = budget_target(evaluator.config)
        curves.learning_curves(rows, target, workdir / "curves.png")
    console.print(f"{result.file} and pictures beside it", highlight=False)
