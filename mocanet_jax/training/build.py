"""From a config to a task and a model; the only place where the two meet."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from mocanet_jax.errors import UserError
from mocanet_jax.nn.classifier import ClassifierSpec, MocaClassifier
from mocanet_jax.nn.layer import LayerSpec
from mocanet_jax.nn.model import MocaNet
from mocanet_jax.tasks.associative_recall import AssociativeRecallTask
from mocanet_jax.tasks.binary_addition import BinaryAdditionTask
from mocanet_jax.tasks.bucket_sort import BucketSortTask
from mocanet_jax.tasks.copy import CopyTask
from mocanet_jax.tasks.cycle_navigation import CycleNavigationTask
from mocanet_jax.tasks.duplicate_string import DuplicateStringTask
from mocanet_jax.tasks.even_pairs import EvenPairsTask
from mocanet_jax.tasks.missing_duplicate import MissingDuplicateTask
from mocanet_jax.tasks.modular_arithmetic import ModularArithmeticTask
from mocanet_jax.tasks.mqar import MqarTask
from mocanet_jax.tasks.odds_first import OddsFirstTask
from mocanet_jax.tasks.parity_check import ParityCheckTask
from mocanet_jax.tasks.priority_sort import PrioritySortTask
from mocanet_jax.tasks.repeat_copy import RepeatCopyTask
from mocanet_jax.tasks.reverse_string import ReverseStringTask
from mocanet_jax.tasks.sequence import SequenceTask
from mocanet_jax.tasks.sst2 import Sst2Task
from mocanet_jax.tasks.stack_manipulation import StackManipulationTask
from mocanet_jax.tasks.task import Task
from mocanet_jax.tasks.text import VOCABULARY_FILE, TextTask
from mocanet_jax.tasks.vocabulary import load_vocabulary
from mocanet_jax.training.baselines import BASELINES, build_baseline
from mocanet_jax.training.model import Model
from mocanet_jax.training.settings import MOCA

TASKS = {
    "copy": CopyTask,
    "repeat_copy": RepeatCopyTask,
    "associative_recall": AssociativeRecallTask,
    "priority_sort": PrioritySortTask,
    "mqar": MqarTask,
    "parity_check": ParityCheckTask,
    "even_pairs": EvenPairsTask,
    "cycle_navigation": CycleNavigationTask,
    "modular_arithmetic": ModularArithmeticTask,
    "reverse_string": ReverseStringTask,
    "stack_manipulation": StackManipulationTask,
    "duplicate_string": DuplicateStringTask,
    "odds_first": OddsFirstTask,
    "missing_duplicate": MissingDuplicateTask,
    "binary_addition": BinaryAdditionTask,
    "bucket_sort": BucketSortTask,
    "sst2": Sst2Task,
}


def build_task(config: ConfigDict, workdir: Path) -> Task:
    """The task; what an earlier run in `workdir` saved of it is used again.

    Raises UserError for an unknown task or settings it refuses.
    """
    if config.task not in TASKS:
        raise UserError(f"unknown task {config.task!r}; known tasks: {', '.join(TASKS)}")
    kind, settings = TASKS[config.task], dict(config.data)
    if issubclass(kind, TextTask):
        settings["seed"] = config.seed
        if (workdir / VOCABULARY_FILE).exists():
            settings["saved_vocabulary"] = load_vocabulary(workdir / VOCABULARY_FILE)
    try:
        task = kind(**settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"config.data: {error}") from error
    if isinstance(task, SequenceTask):
        _check_lengths(config, task)
    return task


def _check_lengths(config, task):
    for name in ("lengths", "long_lengths"):
        longest = max(config.eval[name], default=0)
        if longest > task.limit:
            raise UserError(
                f"config.eval.{name}: lengths of {config.task} end at {task.limit}, "
                f"not {longest}"
            )


def rebuild(config: ConfigDict, workdir: Path) -> tuple[Task, Model]:
    """The task and model of an earlier run in `workdir`, from the config that it was saved
    with. Raises UserError for a config of another version of this package.
    """
    try:
        task = build_task(config, workdir)
        return task, build_model(config, task)
    except (AttributeError, KeyError) as error:
        reason = str(error).splitlines()[0].strip("\"'")
        raise UserError(f"{workdir} was trained by another version: {reason}") from error


def build_model(config: ConfigDict, task: Task) -> Model:
    """The model that config.model.name names.

    Raises UserError for an unknown name, a task that it does not do, and sizes that do not fit
    together.
    """
    name = config.model.name
    if name == MOCA:
        return _build_moca(config, task)
    if name not in BASELINES:
        known = ", ".join((MOCA, *BASELINES))
        raise UserError(f"config.model.name: unknown model {name!r}; known models: {known}")
    if isinstance(task, TextTask):
        raise UserError(
            f"config.model.name={name} is for tasks of drawn sequences; {config.task} takes "
            f"{MOCA}"
        )
    return build_baseline(config, task)


def _build_moca(config, task):
    m = config.model
    kinds = ("location", "association", "order")
    heads = {kind: m[f"num_{kind}_heads"] for kind in kinds}
    content = m.num_memory_heads - sum(heads.values())
    for kind, count in heads.items():
        if not 0 <= count <= count + content:
            raise UserError(
                f"config.model: num_{kind}_heads must be between 0 and {count + content}, what "
                f"the other kinds leave of num_memory_heads {m.num_memory_heads}, not {count}"
            )
    heads["content"] = content
    if m.time not in ("auto", "scan", "parallel"):
        raise UserError(f"config.model: time must be auto, scan or parallel, not {m.time!r}")
    if m.num_layers < 1:
        raise UserError(f"config.model: num_layers must be at least 1, not {m.num_layers}")
    if not 0 <= m.target_budget <= 1:
        raise UserError(
            f"config.model: target_budget is a share in [0, 1], not {m.target_budget}"
        )
    fastest = "scan" if jax.default_backend() == "cpu" else "parallel"
    try:
        layer = LayerSpec(
            embedding_dim=m.embedding_dim,
            num_experts=m.num_experts if m.use_experts else 0,
            expert_hidden_dim=m.expert_hidden_dim,
            top_k_experts=m.top_k_experts,
            expert_capacity_factor=m.expert_capacity_factor,
            **{f"num_{kind}_heads": m.use_memory * count for kind, count in heads.items()},
            num_memory_slots=m.num_memory_slots,
            top_k_slots=m.top_k_slots,
            router_temperature=m.router_temperature,
            pointer_sharpness=m.pointer_sharpness,
            use_controller=m.use_controller,
            tape=m.tape,
            max_laps=m.max_laps,
            counters=tuple(m.counters),
            routing=m.routing,
            target_budget=m.target_budget,
            exploration=m.exploration,
            remat=m.remat,
            activations=m.activations,
            time=fastest if m.time == "auto" else m.time,
        )
        if not isinstance(task, TextTask):
            return MocaNet(task.vocab_size, m.num_layers, layer)
        spec = ClassifierSpec(
            vocab_size=task.vocab_size,
            num_classes=len(task.classes),
            num_layers=m.num_layers,
            layer=layer,
            num_pieces=task.num_pieces,
            max_pieces=task.max_pieces,
            piece_dim=m.piece_dim,
            num_members=m.num_members,
            bidirectional=m.bidirectional,
            word_dropout=m.word_dropout,
            embedding_dropout=m.embedding_dropout,
            dropout=m.dropout,
        )
    except ValueError as error:
        raise UserError(f"config.model: {error}") from error
    return MocaClassifier(spec)
