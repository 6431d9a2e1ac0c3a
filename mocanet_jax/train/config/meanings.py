"""Fields of configs by their dotted names: what they mean, and which one was meant."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mocanet_jax.tasks.registry import data_meanings
from mocanet_jax.train.config import ABLATIONS, FIELDS, LANGUAGE_FIELDS, TEXT_FIELDS

RENAMED = {
    "embedding_dim": "model.width",
    "use_controller": "model.controller.enabled",
    "num_memory_heads": "model.memory.heads.content.count",
    "num_location_heads": "model.memory.heads.ring.count",
    "num_association_heads": "model.memory.heads.association.count",
    "num_order_heads": "model.memory.heads.priority_queue.count",
    "num_memory_slots": "model.memory.num_slots",
    "top_k_slots": "model.memory.active_slots",
    "pointer_sharpness": "model.memory.heads.ring.sharpness",
    "max_laps": "model.memory.heads.loop.max_wraps",
    "router_temperature": "model.memory.heads.content.temperature",
    "num_experts": "model.experts.count",
    "top_k_experts": "model.experts.top_k",
    "expert_hidden_dim": "model.experts.hidden_dim",
    "expert_capacity_factor": "model.experts.capacity_factor",
    "target_budget": "model.budget.target",
    "budget_loss_weight": "model.budget.base_cost",
    "budget_loss_when_grown": "model.budget.base_cost_when_grown",
    "price_rate": "model.budget.multiplier_rate",
    "commitment_loss_weight": "model.memory.quantisation_penalty",
    "activations": "model.dtype",
    "curriculum_accuracy": "train.curriculum.accuracy",
    "curriculum_growth": "train.curriculum.growth",
    "curriculum_retreat": "train.curriculum.retreat",
    "lr": "train.learning_rate",
    "steps": "train.max_steps",
    "layers": "model.num_layers",
}
"""Fields by the last part of other names for them, of earlier versions and other codebases."""

SECTIONS = {"training": "train", "evaluation": "eval"}
"""Sections of a config by other names."""

WIDEST_VALUE = 34


class Field(NamedTuple):
    """default: None for a field that only some configs have."""

    name: str
    default: Any
    meaning: str


def flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; an empty section has none."""
    for name, value in config.items():
        if isinstance(value, ConfigDict | dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def documented(task: str = "") -> dict[str, Field]:
    """Fields with a meaning, by name: of every config, of text classifiers, of language models,
    and of `task`."""
    entries = dict(flat(FIELDS)) | dict(flat(TEXT_FIELDS)) | dict(flat(LANGUAGE_FIELDS))
    fields = {name: Field(name, *entry) for name, entry in entries.items()}
    data = {f"data.{name}": meaning for name, meaning in data_meanings(task).items()}
    return fields | {name: Field(name, None, meaning) for name, meaning in data.items()}


def described(config: ConfigDict) -> Iterator[str]:
    """A line for each field: name, value, the default where it is another, meaning."""
    known, values = documented(config.task), dict(flat(config))
    rows = []
    for name, value in values.items():
        field = known.get(name, Field(name, None, ""))
        changed = field.default is not None and value != field.default
        default = f"  (default {field.default!r})" if changed else ""
        rows.append((name, f"{value!r}{default}", field.meaning))
    yield from _table(rows)


def reference() -> Iterator[str]:
    """A line for each field of every config, and for each ablation."""
    fields = [field for field in documented().values() if field.default is not None]
    yield "Fields of a config, set by --config.NAME=VALUE, with their defaults:"
    yield from _table([(f.name, repr(f.default), f.meaning) for f in fields])
    yield "Fields of config.data are the task's own; --print_config shows them."
    yield ""
    yield "Ablations, written behind a config's name, as in copy:no_memory:"
    for name, ablate in ABLATIONS.items():
        yield f"  {name:16} {' '.join((ablate.__doc__ or '').split())}".rstrip()


def _table(rows):
    names = max(len(name) for name, *_ in rows)
    for name, value, meaning in rows:
        yield f"  {name:{names}} = {value:{WIDEST_VALUE}}  {meaning}".rstrip()


def meant(name: str, known: Iterable[str]) -> str | None:
    """The field of `known` that an unknown name stands for; several have " or " between, None
    says that there is none.
    """
    known = list(known)
    section, dot, rest = name.partition(".")
    if dot and section in SECTIONS:
        name = f"{SECTIONS[section]}.{rest}"
        if name in known:
            return name
    last = name.rpartition(".")[2]
    old = [RENAMED[n] for n in difflib.get_close_matches(last, RENAMED, n=1, cutoff=0.9)]
    if old and old[0] in known:
        return old[0]
    ends = [field for field in known if f".{field}".endswith(f".{name}")]
    lasts = [field for field in known if field.rpartition(".")[2] == last]
    if ends or lasts:
        near = difflib.get_close_matches(name, ends or lasts, n=1, cutoff=0.9)
        return " or ".join(near or (ends or lasts)[:3])
    same_section = [field for field in known if field.split(".")[0] == name.split(".")[0]]
    near = difflib.get_close_matches(name, same_section, n=1, cutoff=0.7)
    if not near:
        ends = {field.rpartition(".")[2]: field for field in reversed(known)} | RENAMED
        near = [ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.75)]
    return near[0] if near and near[0] in known else None
