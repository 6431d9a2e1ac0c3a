"""What training and evaluation take of memory at the least, checked before anything is
compiled: a lower bound, so that nothing is refused that would have worked.

Axes: B batch, T time, D width, V vocabulary.
"""

from ml_collections import ConfigDict

from mocanet_jax.runtime.memory import check, size
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.config.settings import is_moca
from mocanet_jax.train.state import TrainState

FLOAT = 4
"""Bytes."""


def check_memory(config: ConfigDict, task: Task, like: TrainState, devices: int) -> None:
    """Raises UserError for sizes that no device holds.

    like: shapes and dtypes of the train state. devices: that share a batch.
    """
    training, state = config.train, size(like)
    check(
        state / config.mesh.expert if config.mesh.expert > 1 else state,
        f"a model of config.model with {size(like.params) // FLOAT:,} parameters",
        "a smaller config.model.width, config.model.experts.count or hidden_dim needs less",
    )
    steps, per_token = _num_steps(task, task.longest), FLOAT * _floats_per_token(config, task)
    sequences = training.batch_size / training.accumulate_steps / devices
    check(
        state + sequences * steps * per_token,
        f"a batch of config.train.batch_size={training.batch_size:,} sequences of "
        f"{steps:,} steps",
    )
    if isinstance(task, SequenceTask):
        longest = max((task.longest, *config.eval.lengths, *config.eval.long_lengths))
        steps = _num_steps(task, longest)
        tokens = max(config.eval.tokens_per_batch, steps)
        check(
            tokens * per_token / devices,
            f"an evaluation at length {longest:,} with config.eval.tokens_per_batch="
            f"{config.eval.tokens_per_batch:,}",
            "shorter config.eval.lengths and long_lengths need less",
        )


def _num_steps(task, length) -> int:
    return task.num_steps(length) if isinstance(task, SequenceTask) else length


def _floats_per_token(config, task) -> int:
    """The stream of width D between layers, and logits [V] of sequences."""
    sizes = config.model if is_moca(config) else config.baseline[config.model.name]
    logits = task.vocab_size if isinstance(task, SequenceTask) else 0
    return (1 + sizes.num_layers) * sizes.width + logits
