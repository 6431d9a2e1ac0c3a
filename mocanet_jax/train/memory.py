"""What training and evaluation take of memory at the least, checked before anything is
compiled: a lower bound, so that nothing is refused that would have worked.

Axes: B batch, T time, D width, V vocabulary.
"""

from ml_collections import ConfigDict

from mocanet_jax.evaluate.sequence import batches_of
from mocanet_jax.runtime.memory import check, size
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.config.settings import is_moca
from mocanet_jax.train.state import TrainState

FLOAT = 4
"""Bytes."""

STEP = 10
"""Bytes of a token, its target, and whether it is scored and is no padding."""

_NARROWEST = 1 / 8
"""Of slots in 4 bits a number, over those of floats."""


def check_memory(config: ConfigDict, task: Task, like: TrainState, devices: int) -> None:
    """Raises UserError for sizes that no device holds.

    like: shapes and dtypes of the train state. devices: that share a batch.
    """
    training, experts = config.train, config.mesh.expert
    state = size(like) / (devices if experts == -1 else experts)
    check(
        state,
        f"a model of config.model with {size(like.params) // FLOAT:,} parameters",
        "a smaller config.model.width, config.model.experts.count or hidden_dim needs less",
    )
    sequences = training.batch_size / training.accumulate_steps / devices
    check(
        state + sequences * _bytes_per_sequence(config, task),
        f"a batch of config.train.batch_size={training.batch_size:,} sequences of "
        f"{_num_steps(task, task.lengths.longest):,} steps",
    )
    if isinstance(task, LanguageTask):
        lanes = min(config.eval.streams, len(task.held_out["valid"].starts))
        segment = config.eval.segment
        check(
            lanes * segment * task.vocab_size * FLOAT,
            f"an evaluation of {lanes} streams with config.eval.segment={segment:,}",
            "a smaller config.eval.segment or config.eval.streams needs less",
        )
    if isinstance(task, SequenceTask):
        longest = max((task.longest, *config.eval.lengths, *config.eval.long_lengths))
        tokens = max(_tokens(config.eval, task, fit) for fit in {task.longest, longest})
        read = tokens * (_sizes(config).width * _bytes(config) + task.vocab_size * FLOAT)
        check(
            read / devices + _whole_sequence(config, task, longest),
            f"an evaluation at length {longest:,} with config.eval.tokens_per_batch="
            f"{config.eval.tokens_per_batch:,}",
            "a smaller config.eval.tokens_per_batch, or shorter config.eval.lengths and "
            "long_lengths, need less",
        )


def _bytes_per_sequence(config, task) -> float:
    """The stream [T, D] between layers, which the gradient needs, and the logits of scored
    steps."""
    sizes = _sizes(config)
    stream = _num_steps(task, task.lengths.longest) * (1 + sizes.num_layers) * sizes.width
    scored = task.answer_length(task.longest) if isinstance(task, SequenceTask) else 0
    if isinstance(task, LanguageTask):
        scored = task.segment
    logits = scored and scored * task.vocab_size
    return stream * _bytes(config) + logits * FLOAT


def _tokens(settings, task, fit) -> int:
    """That an evaluation reads at a time; it has all their logits."""
    steps = task.num_steps(fit)
    counts = (settings.validation_sequences, settings.test_sequences)
    count = max(counts) if fit == task.longest else settings.sequences_per_long_length
    batch, segment = batches_of(settings.tokens_per_batch, steps, count)
    return batch * (segment or steps)


def _whole_sequence(config, task, length) -> float:
    """A sequence of this length, in however many segments it is read, and the slots that it is
    given."""
    tokens = task.num_steps(length) * STEP
    if length <= task.longest or not is_moca(config):
        return tokens
    memory = config.model.memory
    if not any(head.count for head in memory.heads.values()):
        return tokens
    slots = memory.num_slots * task.memory_growth(length)
    width = memory.head_width or config.model.width  # of a head, or of all
    return tokens + slots * width * FLOAT * _NARROWEST


def _num_steps(task, length) -> int:
    return task.num_steps(length) if isinstance(task, SequenceTask) else length


def _sizes(config) -> ConfigDict:
    """Of a baseline its own, where it has any."""
    return config.baseline.get(config.model.name, config.model)


def _bytes(config) -> int:
    """Of an activation."""
    return 2 if is_moca(config) and config.model.dtype == "bfloat16" else FLOAT
