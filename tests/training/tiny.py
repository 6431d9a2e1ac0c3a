"""A config whose runs take seconds: five steps on payloads of up to four symbols."""

import io

from ml_collections import ConfigDict
from rich.console import Console

from configs import copy

STEPS, SAVE_EVERY = 5, 2


def config(ablation: str | None = None, **changes) -> ConfigDict:
    """changes: fields by their dotted names with _ for the first dot: training_max_steps=3.

    The budget is below usage and the curriculum grows at every step, so that both show.
    """
    config = copy.get_config(ablation)
    config.data.update(shortest=1, longest=4, first_longest=1)
    config.model.update(embedding_dim=16, expert_hidden_dim=16, num_experts=2)
    config.model.update(num_memory_slots=8, target_budget=0.5, budget_loss_weight=3.0)
    config.training.update(batch_size=4, max_steps=STEPS, warmup_steps=1, log_every=1)
    config.training.update(eval_every=1, save_every=SAVE_EVERY, curriculum_accuracy=0.0)
    config.training.update(stop_at_loss=0.0)
    config.eval.update(validation_sequences=8, test_sequences=8, lengths=(2, 4))
    config.eval.update(sequences_per_length=8, long_lengths=(8,), sequences_per_long_length=8)
    return changed(config, changes).lock()


def changed(config: ConfigDict, changes: dict) -> ConfigDict:
    """The config with the fields of `changes`, named as in `config`, set."""
    for name, value in changes.items():
        section, _, field = name.partition("_")
        if field:
            config[section][field] = value
        else:
            config[section] = value
    return config


def console() -> Console:
    """One that keeps what it is given, for `printed`."""
    return Console(file=io.StringIO(), width=100)


def printed(console: Console) -> str:
    return console.file.getvalue()
