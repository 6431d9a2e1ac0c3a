"""From a config to a task and a model; the only place where the two meet."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from mocanet_jax.core.budget import BudgetConfig
from mocanet_jax.evaluate.language import LanguageEvaluator
from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.evaluate.text import TextEvaluator
from mocanet_jax.nn.cache import CacheConfig
from mocanet_jax.nn.config import (
    AutomataConfig,
    ControllerConfig,
    ExpertsConfig,
    LayerConfig,
    MemoryConfig,
)
from mocanet_jax.nn.experts import KINDS as EXPERTS
from mocanet_jax.nn.heads import KINDS as HEADS
from mocanet_jax.nn.heads import Head
from mocanet_jax.nn.models.classifier import ClassifierSpec, MocaClassifier
from mocanet_jax.nn.models.protocol import Model
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.imports import import_object
from mocanet_jax.runtime.sharding import Layout
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.tasks.corpora.tokenizers import tokenizer_of
from mocanet_jax.tasks.registry import check_complete, task_class
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.tasks.task import Task
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.train.baselines import (
    BAG_OF_WORDS,
    BASELINES,
    build_baseline,
    build_text_baseline,
)
from mocanet_jax.train.checkpoints.record import latest_record
from mocanet_jax.train.checkpoints.shipped import place
from mocanet_jax.train.config.settings import MOCA


def build_task(config: ConfigDict, workdir: Path) -> Task:
    """The task; what the checkpoints in `workdir` hold of it is used again.

    Raises UserError for an unknown task or settings it refuses.
    """
    record = latest_record(workdir)
    if record is None and (source := config.get("train", {}).get("init_from", "")):
        return task_again(config, {"known_words": _words(source)})
    return task_again(config, record.task if record else {})


def _words(source):
    """Of the vocabulary of the run that another starts from; none of a run on other than
    texts, or where there is no run."""
    record = latest_record(place(local_path(source)))
    return record.task.get("vocabulary", {}).get("words", []) if record else []


def task_again(config: ConfigDict, record: dict) -> Task:
    """The task of a run of this config. record: what an earlier part kept of it (Task.record),
    {} for nothing, or "known_words" of a run that this one starts from. Raises UserError as
    `build_task`."""
    kind, settings = task_class(config.task), dict(config.data)
    if issubclass(kind, LanguageTask):
        settings["seed"] = config.seed
        if "tokenizer" in record:
            settings["saved_tokenizer"] = tokenizer_of(record["tokenizer"])
    if issubclass(kind, TextTask):
        settings["seed"] = config.seed
        settings |= kind.settings_of(record)
    try:
        task = kind(**settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"config.data: {error}") from error
    check_complete(config.task, task)
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


Evaluator = SequenceEvaluator | TextEvaluator | LanguageEvaluator


def build_evaluator(model: Model, task: Task, config: ConfigDict, layout: Layout) -> Evaluator:
    """The evaluator of the task's kind."""
    kinds = {TextTask: TextEvaluator, LanguageTask: LanguageEvaluator}
    found = (kind for base, kind in kinds.items() if isinstance(task, base))
    return next(found, SequenceEvaluator)(model, task, config, layout)


def build_model(config: ConfigDict, task: Task) -> Model:
    """The model that config.model.name names.

    Raises UserError for an unknown name, a task that it does not do, and sizes that do not fit
    together.
    """
    name = config.model.name
    try:
        budget_config(config.model)
    except ValueError as error:
        raise UserError(f"config.model.{error}") from error
    if name == MOCA:
        return _build_moca(config, task)
    known = (MOCA, *BASELINES, *([BAG_OF_WORDS] if isinstance(task, TextTask) else []))
    if name not in known:
        raise UserError(
            f"config.model.name: unknown model {name!r}; known models: {', '.join(known)}"
        )
    build = build_text_baseline if isinstance(task, TextTask) else build_baseline
    return build(config, task)


def _build_moca(config, task):
    m = config.model
    if m.num_layers < 1:
        raise UserError(f"config.model: num_layers must be at least 1, not {m.num_layers}")
    try:
        layer = layer_config(m)
        if not isinstance(task, TextTask):
            cache = CacheConfig(**m.cache, slot_bits=m.slot_bits) if m.cache.num_slots else None
            if cache and not isinstance(task, LanguageTask):
                raise ValueError("cache.num_slots is for language models")
            return MocaNet(task.vocab_size, m.num_layers, layer, m.tied_head, cache)
        spec = ClassifierSpec(
            vocab_size=task.vocab_size,
            num_classes=len(task.classes),
            num_layers=m.num_layers,
            layer=layer,
            num_pieces=task.num_pieces,
            max_pieces=task.max_pieces,
            **m.classifier,
        )
    except ValueError as error:
        raise UserError(f"config.model: {error}") from error
    return MocaClassifier(spec)


def layer_config(model: ConfigDict) -> LayerConfig:
    """The layers that config.model describes. Raises ValueError for sizes that do not fit."""
    if model.time not in ("auto", "scan", "parallel"):
        raise ValueError(f"time must be auto, scan or parallel, not {model.time!r}")
    fastest = "scan" if jax.default_backend() == "cpu" else "parallel"
    heads = _heads(model.memory.heads)
    if model.slot_bits != 32 and not (
        model.cache.num_slots or any(head.narrows for head in heads)
    ):
        raise ValueError("slot_bits is for association heads or a cache, and there is neither")
    memory, experts = model.memory, model.experts
    return LayerConfig(
        width=model.width,
        controller=_controller(model.controller) if model.controller.enabled else None,
        memory=MemoryConfig(
            heads, memory.num_slots, memory.active_slots, memory.head_width, model.slot_bits
        )
        if heads
        else None,
        experts=ExpertsConfig(
            experts.count,
            experts.top_k,
            _kind("experts.kind", EXPERTS, experts.kind)(experts.hidden_dim),
            experts.capacity_factor,
            experts.exploration,
            experts.groups,
            experts.capacity_pool,
        )
        if experts.count
        else None,
        budget=budget_config(model),
        time=fastest if model.time == "auto" else model.time,
        remat=model.remat,
        dtype=model.dtype,
        dropout=model.dropout,
    )


def _controller(fields) -> ControllerConfig:
    """Raises ValueError for sizes that there are not."""
    automata = AutomataConfig(**fields.automata) if fields.automata.count else None
    return ControllerConfig(tuple(fields.counters), fields.kind, automata)


def budget_config(model: ConfigDict) -> BudgetConfig:
    """The budget that config.model describes. Raises ValueError for numbers out of range."""
    settings = model.budget
    return BudgetConfig(
        settings.routing, settings.target, settings.base_cost, settings.multiplier_rate
    )


def _heads(kinds) -> tuple[Head, ...]:
    """Heads of every kind whose count is not 0, in the order of nn/heads and then by name. A
    kind of one's own is named by its field `kind`, as module:Class; its other fields are
    arguments of the class."""
    heads, known = [], list(HEADS)
    order = lambda name: (known.index(name) if name in known else len(known), name)
    for name in sorted(kinds, key=order):
        fields = dict(kinds[name])
        kind = _kind(f"memory.heads.{name}", HEADS, fields.pop("kind", name))
        if fields["count"] < 0:
            raise ValueError(f"memory.heads.{name}.count must not be negative")
        if fields["count"]:
            heads.append(kind(**fields))
    return tuple(heads)


def _kind(field, known, name):
    if ":" in name:
        return import_object(name, f"config.model.{field}.kind")
    if name not in known:
        raise ValueError(
            f"{field}: unknown kind {name!r}; known: {', '.join(known)}, or module:Class"
        )
    return known[name]
