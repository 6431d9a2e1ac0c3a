"""A config whose runs take seconds: five steps on payloads of up to four symbols."""

import io
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from configs import copy
from mocanet_jax.inference import evaluation
from mocanet_jax.report.terminal import TrainingDisplay
from mocanet_jax.train import loop
from mocanet_jax.train.config.settings import field
from mocanet_jax.train.monitor import Silent

STEPS, SAVE_EVERY = 5, 2


def config(ablation: str | None = None, **changes) -> ConfigDict:
    """changes: fields by their dotted names with __ for dots: train__max_steps=3.

    The budget is below usage and the curriculum grows at every step, so that both show.
    """
    config = copy.get_config(ablation)
    config.data.update(shortest=1, longest=4, first_longest=1)
    config.model.width = 16
    config.model.experts.update(hidden_dim=16, count=2)
    config.model.memory.num_slots = 8
    config.model.budget.update(target=0.5, base_cost=3.0)
    config.train.update(batch_size=4, max_steps=STEPS, warmup_steps=1, log_every=1)
    config.train.update(eval_every=1, save_every=SAVE_EVERY)
    config.train.curriculum.accuracy = 0.0
    config.train.update(stop_at_loss=0.0)
    config.eval.update(validation_sequences=8, test_sequences=8, lengths=(2, 4))
    config.eval.update(sequences_per_length=8, long_lengths=(8,), sequences_per_long_length=8)
    return changed(config, changes).lock()


def changed(config: ConfigDict, changes: dict) -> ConfigDict:
    """The config with the fields of `changes`, named as in `config`, set."""
    for name, value in changes.items():
        path, _, last = name.replace("__", ".").rpartition(".")
        part = field(config, path) if path else config
        assert last in part, name
        part[last] = value
    return config


def train(config: ConfigDict, workdir: Path, console: Console | None = None) -> dict:
    """Trains; returns what result.json holds. console: None shows nothing."""
    return loop.train(
        config, workdir, TrainingDisplay(console) if console else Silent()
    ).summary


def evaluate(config: ConfigDict, workdir: Path, overrides: dict) -> dict:
    """Evaluates; returns what eval.json holds."""
    return evaluation.evaluate(workdir, config, overrides).summary


def console() -> Console:
    """One that keeps what it is given, for `printed`."""
    return Console(file=io.StringIO(), width=100)


def printed(console: Console) -> str:
    return console.file.getvalue()
