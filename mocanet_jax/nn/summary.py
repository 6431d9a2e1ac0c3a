"""Parameters and forward FLOPs of each component of a model.

FLOPs per token follow core/budget.py: matrix products and the memory's own arithmetic. What is
engaged by choice is counted at its ceiling, K experts and every access, or as realised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.counters import Counters
from mocanet_jax.nn.layer import build_automata, build_controller, build_router
from mocanet_jax.nn.models.baseline import Baseline
from mocanet_jax.nn.models.classifier import MocaClassifier
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.models.text_baseline import TextBaseline
from mocanet_jax.runtime.tree_paths import path_names

AnyModel = MocaNet | MocaClassifier | Baseline | TextBaseline

ENGAGED_BY_CHOICE = ("memory", "experts")
"""Components whose compute usage is a share of; the others are always on."""


class Cost(NamedTuple):
    """parameters: how many numbers. flops: forward FLOPs per token, at the ceiling."""

    parameters: int
    flops: float


def component_costs(model: AnyModel, params: dict) -> dict[str, Cost]:
    """Costs by component, summed over layers; the values add up to the whole model."""
    own = _flops_of_a_layer(model)
    flops = {name: _passes(model) * x for name, x in own.items()}
    if isinstance(model, MocaClassifier | TextBaseline):
        params = params.get("members", params)
        flops["embedding and head"] = _words_and_attention_flops(model, params)
    else:
        width = params["embed"]["embedding"].shape[-1]
        flops["embedding and head"] = 2.0 * width * model.vocab_size
    if isinstance(model, MocaNet) and model.cache:
        flops["cache"] = model.cache.flops(width)
    parameters = dict.fromkeys([*flops, "norms"], 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        parameters[_component(path, own)] += leaf.size
    return {name: Cost(n, flops.get(name, 0.0)) for name, n in parameters.items() if n}


def realised_flops(model: AnyModel, costs: dict[str, Cost], usage: float) -> float:
    """Forward FLOPs per token of what was on: all that always is, and what was engaged.

    costs: of component_costs. usage: share in [0, 1] of the FLOPs of everything on.
    """
    always = sum(cost.flops for name, cost in costs.items() if name not in ENGAGED_BY_CHOICE)
    if model.layer is None:
        return always
    return always + usage * _passes(model) * sum(model.layer.flops)


def state_size(model: AnyModel, params: dict) -> int:
    """Numbers that a model carries from token to token of one sequence, with room for the
    longest in training: floats of its state, not counts of tokens."""
    leaves = _state(model, params)
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def state_bytes(model: AnyModel, params: dict, num_slots: int | None = None) -> int:
    """Bytes of the whole state of one sequence, counts and tokens included. num_slots: of its
    memory, None for the room of the longest in training."""
    return sum(x.size * x.dtype.itemsize for x in _state(model, params, num_slots))


def _state(model, params, num_slots=None) -> list[jax.ShapeDtypeStruct]:
    start = lambda p: model.apply({"params": p}, 1, num_slots, method="initial_state")
    return jax.tree.leaves(jax.eval_shape(start, params))


def _flops_of_a_layer(model) -> dict[str, float]:
    """Forward FLOPs per token by component."""
    if isinstance(model, Baseline):
        return model.spec.flops()
    if isinstance(model, TextBaseline):
        return model.spec.blocks.flops() if model.spec.blocks else {}
    return layer_flops(model.layer)


def _passes(model) -> int:
    """How many layers each token passes: layers times readings."""
    if isinstance(model, MocaNet):
        return model.num_layers
    spec = model.spec
    if isinstance(model, TextBaseline):
        return spec.directions * spec.blocks.num_layers if spec.blocks else 0
    if isinstance(model, Baseline):
        return spec.num_layers
    return spec.num_members * (1 + spec.bidirectional) * spec.num_layers


def layer_flops(config: LayerConfig) -> dict[str, float]:
    """Forward FLOPs per token of one layer with everything on that its ceilings allow: K
    experts, a write and a read. The projections of heads are the router's, but for values,
    which are part of a write."""
    d, controller = config.width, config.controller
    router = build_router(config).flops(d)
    if config.memory:
        router += 2.0 * d * config.dynamic  # how much was found
        for head in config.memory.heads:
            sized = head.clone(parent=None, sizes=config.sizes)
            projected = (p for n, p in sized.projections().items() if n != "value")
            router += sized.flops() + 2.0 * d * sum(p.features for p in projected)
    flops = config.flops
    return {
        "controller": build_controller(config).flops() if controller else 0.0,
        "counters": Counters(controller.counters).flops(d) if controller else 0.0,
        "automata": build_automata(config).flops(d)
        if controller and controller.automata
        else 0.0,
        "router": router,
        "memory": flops.writes + flops.reads,
        "experts": config.experts.top_k * flops.experts / config.num_experts
        if config.experts
        else 0.0,
    }


def _words_and_attention_flops(model: MocaClassifier | TextBaseline, params):
    """The sum over a word's pieces, what brings it to D, and attention; a classifier's head
    works once a sequence and is left out."""
    spec = model.spec
    is_moca = isinstance(model, MocaClassifier)
    width, members = (spec.layer.width, spec.num_members) if is_moca else (spec.width, 1)
    attention = 2.0 * params["attention"]["kernel"].size if "attention" in params else 0.0
    return attention + members * 2.0 * spec.piece_dim * (spec.max_pieces + width)


def _component(path, parts) -> str:
    """Which of the `parts` of a layer a parameter belongs to, or what else. What stands
    outside of the layers and is no norm and no cache is the embedding or the head."""
    names = path_names(path)
    if not names[0].startswith("layers"):
        outside = {"norm": "norms", "cache": "cache"}
        return outside.get(names[0], "embedding and head")
    part = names[1]
    if part == "projections":
        part = "memory" if names[2].endswith("_value") else "router"
    return part if part in parts else "norms"
