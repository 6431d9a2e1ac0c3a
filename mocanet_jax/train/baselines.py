"""Baselines, from a config and a task (docs/reference/baselines.md)."""

from ml_collections import ConfigDict

from mocanet_jax.nn.models.baseline import Baseline, BaselineSpec
from mocanet_jax.nn.models.deltanet import DeltaNetSpec
from mocanet_jax.nn.models.lstm import LstmSpec
from mocanet_jax.nn.models.transformer import TransformerSpec
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.synthetic.sequence import SequenceTask


def _lstm(config: ConfigDict, task: SequenceTask) -> BaselineSpec:
    return LstmSpec(**config.baseline.lstm, dropout=config.model.dropout)


def _transformer(config: ConfigDict, task: SequenceTask) -> BaselineSpec:
    context = task.num_steps(task.lengths.longest)
    return TransformerSpec(
        **config.baseline.transformer, dropout=config.model.dropout, context=context
    )


def _deltanet(config: ConfigDict, task: SequenceTask) -> BaselineSpec:
    form = "recurrent" if config.model.time == "scan" else "chunked"
    return DeltaNetSpec(**config.baseline.deltanet, dropout=config.model.dropout, form=form)


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
