"""Pictures of runs from what they left behind: metrics, and checkpoints where there are any."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from mocanet_jax.evaluate.spending import spending
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.report import curves, language_pictures, sequence_pictures, text_pictures
from mocanet_jax.report import language as language_report
from mocanet_jax.report import sequence as sequence_report
from mocanet_jax.report.pictures import percent
from mocanet_jax.report.terminal import say
from mocanet_jax.report.text_pictures import SpentText
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.tasks.registry import task_class
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.train.checkpoints.workdir import read_config
from mocanet_jax.train.config.settings import budget_target
from mocanet_jax.train.restore import restored

SENTENCES, SENTENCE_LENGTH = 5, 18
"""Of the validation set: how many are drawn where no text is given, and their most words."""

MOST_TEXTS = 8

Pictures = dict[str, Callable[[Path], None]]
"""By the names of their files, what draws them."""


def draw_run(workdir: Path, out: Path, texts: list[str], console: Console) -> None:
    """Every picture of one run, into `out`.

    texts: whose words' spending is drawn, for a text classifier; sentences of the validation
        set where there are none.
    Pictures that take a checkpoint are left out where there is none, with a line that says so.
    Raises UserError, before anything is written, for a run without metrics, and for texts that
    cannot be judged."""
    if len(texts) > MOST_TEXTS:
        raise UserError(f"--text can be given {MOST_TEXTS} times, not {len(texts)}")
    rows, target = _metrics(workdir)
    _check_out(out)
    missing, step, of_checkpoint = "", None, {}
    try:
        step, of_checkpoint = _of_checkpoint(workdir, texts, target)
    except UserError as error:
        if texts:
            raise
        missing = f"pictures of memory and spending are left out: {error}"
    config = read_config(workdir)
    run = curves.Run(curves.titled(config) if config else workdir.name, target, step)
    pictures: Pictures = {"curves.png": partial(curves.learning_curves, rows, run)}
    if any("train/load_of_expert_0" in row for row in rows):
        pictures["expert_load.png"] = partial(curves.expert_load, rows)
    _draw(pictures | of_checkpoint, out, console)
    if missing:
        say(console, missing)


def compare_runs(workdirs: list[Path], out: Path, console: Console) -> None:
    """comparison.png of several runs, into `out`. Raises UserError for one without metrics."""
    runs = {_name(workdir): _metrics(workdir) for workdir in workdirs}
    _check_out(out)
    _draw({"comparison.png": partial(curves.comparison, runs)}, out, console)


def _check_out(out):
    """Before anything is compiled."""
    if (out.exists() or out.is_symlink()) and not out.is_dir():
        raise UserError(f"cannot write into {out}: Not a directory")


def _metrics(workdir):
    """Rows of metrics.jsonl, and the target of usage."""
    if not workdir.is_dir():
        raise UserError(f"there is no run in {workdir}: train first, or pass its --workdir")
    rows = read_metrics(workdir)
    if not rows:
        raise UserError(f"no metrics in {workdir} yet: nothing to draw")
    config = read_config(workdir)
    return rows, None if config is None else budget_target(config)


def _of_checkpoint(workdir, texts, target) -> tuple[int, Pictures]:
    """The step in use, and what is drawn from it."""
    task = (read_config(workdir) or {}).get("task")
    if texts or (task and issubclass(task_class(task), TextTask)):
        predictor = TextPredictor(workdir)
        return predictor.step, _of_classifier(predictor, texts, target)
    run = restored(workdir)
    if isinstance(run.task, LanguageTask):
        pictures = language_report.pictures(run.model, run.task, run.trained)
        if getattr(run.model, "cache", None):
            measured = language_report.perplexity_by_slots(
                run.config, run.model, run.task, run.trained
            )
            pictures["slots.png"] = partial(language_pictures.slots, measured)
            measured = language_report.perplexity_by_bytes(
                run.config, run.task, run.trained, measured
            )
            pictures["state_bytes.png"] = partial(language_pictures.state_bytes, measured)
        return run.step, pictures
    example = sequence_report.example(run.config, run.model, run.task, run.trained)
    views = sequence_report.memory_views(run.model.layer, example)
    pictures = {
        name: partial(sequence_pictures.memory_over_time, view) for name, view in views.items()
    }
    if _can_spend(run.model.layer):
        spent = spending(run.model.layer, example.layers)
        draw = partial(sequence_pictures.spending_over_time, example.sequence, spent, target)
        pictures["spending.png"] = draw
    return run.step, pictures


def _of_classifier(predictor, texts, target) -> Pictures:
    if not _can_spend(predictor.model.layer):
        return {}
    spent = [_spent(predictor, text) for text in texts or _sentences(predictor.task)]
    return {"spending.png": partial(text_pictures.spending, spent, target)}


def _can_spend(config: LayerConfig | None) -> bool:
    return config is not None and sum(config.flops) > 0


def _sentences(task: TextTask) -> list[str]:
    texts = task.evaluation_texts
    short = [
        text
        for text, words in zip(texts.texts, texts.tokens, strict=True)
        if len(words) <= SENTENCE_LENGTH
    ]
    return (short or texts.texts)[:SENTENCES]


def _spent(predictor: TextPredictor, text: str) -> SpentText:
    prediction = predictor.predict(text)
    if prediction is None:
        raise UserError(f"--text={text!r} has no word in it")
    name = predictor.classes[prediction.predicted]
    decision = f"{name}, with {percent(prediction.confidence)} confidence"
    return SpentText(prediction.words, predictor.spending(prediction), decision)


def _draw(pictures, out, console):
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, draw in pictures.items():
            draw(out / name)
    except OSError as error:
        raise UserError(f"cannot write into {out}: {error.strerror}") from error
    say(console, f"{out}: {', '.join(pictures)}")


def _name(workdir):
    """Of a legend: the path as it was given, or its end."""
    name = str(workdir)
    return name if len(name) <= 60 else f"…{name[-59:]}"
