"""Baselines, from a config and a task (docs/reference/baselines.md)."""

from ml_collections import ConfigDict

from mocanet_jax.nn.models.baseline import Baseline, BaselineSpec
from mocanet_jax.nn.models.deltanet import DeltaNetSpec
from mocanet_jax.nn.models.lstm import LstmSpec
from mocanet_jax.nn.models.text_baseline import TextBaseline, TextBaselineSpec
from mocanet_jax.nn.models.transformer import TransformerSpec
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.tasks.text.task import TextTask

BAG_OF_WORDS = "bow"
"""The config.model.name of the mean of word vectors, for texts alone."""


def _lstm(config: ConfigDict, task: SequenceTask | TextTask) -> BaselineSpec:
    return LstmSpec(**config.baseline.lstm, dropout=config.model.dropout)


def _transformer(config: ConfigDict, task: SequenceTask | TextTask) -> BaselineSpec:
    longest = task.lengths.longest
    context = longest if isinstance(task, TextTask) else task.num_steps(longest)
    return TransformerSpec(
        **config.baseline.transformer, dropout=config.model.dropout, context=context
    )


def _deltanet(config: ConfigDict, task: SequenceTask | TextTask) -> BaselineSpec:
    form = "recurrent" if config.model.time == "scan" else "chunked"
    return DeltaNetSpec(**config.baseline.deltanet, dropout=config.model.dropout, form=form)


def build_text_baseline(config: ConfigDict, task: TextTask) -> TextBaseline:
    """As `build_baseline`, of a text classifier: also by the name of BAG_OF_WORDS, whose width
    is config.model.width."""
    model, name = config.model, config.model.name
    own = {n: x for n, x in model.classifier.items() if n not in ("num_members", "segment")}
    try:
        blocks = None if name == BAG_OF_WORDS else BASELINES[name](config, task)
        spec = TextBaselineSpec(
            vocab_size=task.vocab_size,
            num_classes=len(task.classes),
            width=blocks.width if blocks else model.width,
            blocks=blocks,
            num_pieces=task.num_pieces,
            max_pieces=task.max_pieces,
            **own,
        )
    except ValueError as error:
        section = "model" if name == BAG_OF_WORDS else f"baseline.{name}"
        raise UserError(f"config.{section}: {error}") from error
    return TextBaseline(spec)


BASELINES = {"lstm": _lstm, "transformer": _transformer, "deltanet": _deltanet}
"""By the names of config.model.name, and of their sections of config.baseline."""


def build_baseline(config: ConfigDict, task: SequenceTask) -> Baseline:
    """The model that config.model.name names. Raises UserError for sizes that do not fit."""
    name = config.model.name
    try:
        spec = BASELINES[name](config, task)
    except ValueError as error:
        raise UserError(f"config.baseline.{name}: {error}") from error
    return Baseline(task.vocab_size, spec)
