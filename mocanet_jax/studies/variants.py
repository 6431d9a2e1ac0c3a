"""Which variants of a config a study trains: its ablations, its budgets, or a model with
several learning rates.

A variant is described by flags of mocanet_jax.main, so that any of its runs can be repeated by
hand.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import product
from typing import NamedTuple

from ml_collections import ConfigDict

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train.config.settings import is_moca, plain

CONTROL = "control"
CONTROLS = ("random", "smaller")
VARIED_BY_BUDGETS = ("model.budget.routing", "model.budget.target")

Load = Callable[[list[str]], ConfigDict]
"""Flags of mocanet_jax.main → the config that it makes of them."""
Ablate = Callable[[ConfigDict, str], ConfigDict]
"""A config and the name of an ablation → the config after it."""


class Variant(NamedTuple):
    """flags: of mocanet_jax.main, without seed and working directory. config: what they make,
    in values of JSON.
    settings: what distinguishes it from the study's other variants, by name, if its name does
    not.
    """

    name: str
    flags: tuple[str, ...]
    config: dict
    settings: dict


def ablations(
    load: Load, ablate: Ablate, file: str, overrides: dict, names: Iterable[str]
) -> tuple[list[Variant], list[str]]:
    """The named ablations of a config file as variants, and the names of those left out
    because their config equals the control's.

    overrides: config fields by dotted name, set in every variant before it is ablated; what an
    ablation sets stands. Raises UserError where `file` has other ablations of these names, and
    for a model that has no such parts.
    """
    names, control = list(names), _variant(load, CONTROL, file, overrides)
    if names != [CONTROL] and not is_moca(control.config):
        raise UserError(
            f"config.model.name={control.config['model']['name']} is a model without parts to "
            f"remove; only {CONTROL} can be run"
        )
    kept, equal = [], []
    for name in names:
        if name == CONTROL:
            kept.append(control)
            continue
        wanted = plain(ablate(load(control.flags), name))
        if wanted == control.config:
            equal.append(name)
            continue
        moved = {
            field: _at(wanted, field)
            for field in overrides
            if _at(wanted, field) != _at(control.config, field)
        }
        path = _ablated(file, name)
        kept.append(_variant(load, name, path, overrides | moved))
        if kept[-1].config != wanted:
            raise UserError(
                f"{path} is not the ablation of that name in mocanet_jax.train.config"
            )
    return kept, equal


def budgets(
    load: Load,
    file: str,
    overrides: dict,
    targets: Iterable[float],
    top_k: Iterable[int],
    controls: Iterable[str] = (),
) -> list[Variant]:
    """Dynamic routing under each target budget, and a fixed choice of no expert and of each K.

    controls: of CONTROLS, under each target, too: "random", experts drawn by chance at that
    share; "smaller", a single expert with the FLOPs of that share, on at every token.

    With dynamic routing K is only a ceiling; it is the highest of `top_k` unless `overrides`
    set it, so that both can spend the same. Raises UserError for an override of what is varied.
    """
    for field in VARIED_BY_BUDGETS:
        if field in overrides:
            raise UserError(f"--config.{field} is what the study varies; leave it out")
    top_k = sorted({0, *top_k})
    free = {"model.experts.top_k": max(top_k)} | overrides
    targets, controls = sorted(set(targets)), set(controls)
    if unknown := controls - set(CONTROLS):
        raise UserError(f"controls are {' and '.join(CONTROLS)}, not {', '.join(unknown)}")
    kinds = ["dynamic", "random"] if "random" in controls else ["dynamic"]
    variants = []
    for routing, target in product(kinds, targets):
        settings = {"routing": routing, "target_budget": target}
        own = {"model.budget.routing": routing, "model.budget.target": target}
        variants.append(_variant(load, f"{routing}_{target:g}", file, free | own, settings))
    if variants and not is_moca(variants[0].config):
        name = variants[0].config["model"]["name"]
        raise UserError(f"config.model.name={name} is a model without a budget")
    fixed = _ablated(file, "fixed_topk")
    for k in top_k:
        own = {"model.experts.top_k": k} if k else {"model.experts.count": 0}
        settings = {"routing": "topk", "top_k_experts": k}
        variants.append(_variant(load, f"topk_{k}", fixed, overrides | own, settings))
    experts = variants[0].config["model"]["experts"]
    for target in targets if "smaller" in controls else ():
        settings = {"routing": "smaller", "target_budget": target}
        hidden = max(1, round(target * experts["count"] * experts["hidden_dim"]))
        own = {"count": 1, "top_k": 1, "hidden_dim": hidden}
        own = {f"model.experts.{field}": value for field, value in own.items()}
        variants.append(_variant(load, f"smaller_{target:g}", fixed, overrides | own, settings))
    return variants


def learning_rates(
    load: Load, task: str, file: str, model: str, rates: Iterable[float], minutes: float
) -> list[Variant]:
    """A model on `task`, of a config file, with each learning rate, or the config's own where
    `rates` is empty; named TASK/MODEL/lr_RATE.

    minutes: what a run may take; 0 for no limit.
    """
    own = {"model.name": model, "train.max_minutes": minutes}
    rates = list(rates) or [load([f"--config={file}"]).train.learning_rate]
    return [
        _variant(
            load,
            f"{task}/{model}/lr_{rate}",
            file,
            own | {"train.learning_rate": rate},
            {"learning_rate": rate},
        )
        for rate in rates
    ]


def _ablated(file, name):
    """The config file with an ablation, after the task of a file of several."""
    return f"{file},{name}" if ":" in file else f"{file}:{name}"


def _at(config, field):
    return reduce(dict.__getitem__, field.split("."), config)


def _variant(load, name, path, overrides, settings=None):
    fields = [f"--config.{field}={value}" for field, value in overrides.items()]
    flags = [f"--config={path}", *fields]
    return Variant(name, tuple(flags), plain(load(flags)), settings or {})
