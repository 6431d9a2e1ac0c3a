"""The end of a run on the screen and in pictures."""

from pathlib import Path

from rich.console import Console

from mocanet_jax.evaluate.results import LanguageResults, TextResults
from mocanet_jax.report import curves
from mocanet_jax.report import language as language_report
from mocanet_jax.report import sequence as sequence_report
from mocanet_jax.report import text as text_report
from mocanet_jax.report.terminal import say
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.train.config.settings import budget_target
from mocanet_jax.train.result import EVALUATION, Result


def report(result: Result, console: Console) -> None:
    """Prints tables of the final evaluation, and draws pictures into the working directory."""
    workdir, evaluator, results = result.workdir, result.evaluator, result.results
    say(console, choice(result.summary, budget_target(evaluator.config)))
    if own := result.summary.get("eval_file"):
        say(console, f"on the texts of {own}")
        if result.file.name == EVALUATION:  # the run's own pictures stay
            workdir = workdir / f"eval_{Path(own).stem}"
            workdir.mkdir(exist_ok=True)
    if isinstance(results, TextResults):
        text_report.show(console, results)
        text_report.draw(workdir, results)
    elif isinstance(results, LanguageResults):
        language_report.show(console, results, evaluator.task)
        language_report.draw(workdir, evaluator.model, evaluator.task, result.trained)
    else:
        task = evaluator.task
        sequence_report.show(console, results, (task.shortest, task.longest))
        sequence_report.draw(workdir, evaluator, result.trained, results)
    rows = read_metrics(workdir)  # none in a folder for pictures of a file of one's own
    if rows:
        config, step = evaluator.config, result.summary["evaluated_step"]
        run = curves.Run(curves.titled(config), budget_target(config), step)
        curves.learning_curves(rows, run, workdir / "curves.png")
    beside = "beside it" if workdir == result.workdir else f"in {workdir}"
    say(console, f"{result.file} and pictures {beside}")


def choice(summary: dict, target: float | None) -> str:
    """Which step was evaluated, and why. target: of usage, None where there is none."""
    step = f"step {summary['evaluated_step']:,} of {summary['trained_steps']:,} was evaluated"
    if summary["within_budget"]:
        return f"{step}: the lowest validation loss within the budget of {target:.2%}"
    if target is None:
        return f"{step}: the lowest validation loss"
    return f"no checkpoint is within the budget of {target:.2%}: {step}, the lowest loss"
