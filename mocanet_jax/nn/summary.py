"""Parameters and forward FLOPs of each component of a model.

FLOPs per token follow core/budget.py: matrix products and the memory's own arithmetic. What is
engaged by choice is counted at its ceiling, K experts and every access, or as realised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.nn import pointers
from mocanet_jax.nn.layer import LayerSpec
from mocanet_jax.nn.models.baseline import Baseline
from mocanet_jax.nn.models.classifier import ClassifierSpec, MocaClassifier
from mocanet_jax.nn.models.sequence import MocaNet
from mocanet_jax.nn.router import ASSOCIATION_WIDTH, CONVOLUTION_WIDTH

PLACING = 14.0
"""FLOPs for each pair of slots whose order is compared and counted (core/order.py)."""

ENGAGED_BY_CHOICE = ("memory", "experts")
"""Components whose compute usage is a share of; the others are always on."""


class Cost(NamedTuple):
    """parameters: how many numbers. flops: forward FLOPs per token, at the ceiling."""

    parameters: int
    flops: float


def component_costs(
    model: MocaNet | MocaClassifier | Baseline, params: dict
) -> dict[str, Cost]:
    """Costs by component, summed over layers; the values add up to the whole model."""
    own = model.spec.flops() if isinstance(model, Baseline) else layer_flops(model.layer)
    flops = {name: _passes(model) * x for name, x in own.items()}
    if isinstance(model, MocaClassifier):
        params = params["members"]
        flops["embedding and head"] = _words_and_attention_flops(model.spec, params)
    else:
        width = params["embed"]["embedding"].shape[-1]
        flops["embedding and head"] = 2.0 * width * model.vocab_size
    parameters = dict.fromkeys([*flops, "norms"], 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        parameters[_component(path, own)] += leaf.size
    return {name: Cost(n, flops.get(name, 0.0)) for name, n in parameters.items() if n}


def realised_flops(
    model: MocaNet | MocaClassifier | Baseline, costs: dict[str, Cost], usage: float
) -> float:
    """Forward FLOPs per token of what was on: all that always is, and what was engaged.

    costs: of component_costs. usage: share in [0, 1] of the price of everything on.
    """
    always = sum(cost.flops for name, cost in costs.items() if name not in ENGAGED_BY_CHOICE)
    if model.layer is None:
        return always
    return always + usage * _passes(model) * sum(model.layer.prices)


def state_size(model: MocaNet | MocaClassifier | Baseline, params: dict) -> int:
    """Numbers that a model carries from token to token of one sequence, with room for the
    longest in training: floats of its state, not counts of tokens."""
    start = lambda p: model.apply({"params": p}, 1, method="initial_state")
    leaves = jax.tree.leaves(jax.eval_shape(start, params))
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def _passes(model) -> int:
    """How many layers each token passes: layers times readings."""
    if isinstance(model, MocaNet):
        return model.num_layers
    spec = model.spec
    if isinstance(model, Baseline):
        return spec.num_layers
    return spec.num_members * (1 + spec.bidirectional) * spec.num_layers


def layer_flops(spec: LayerSpec) -> dict[str, float]:
    """Forward FLOPs per token of one layer with everything on that its ceilings allow: K
    experts, a write and a read. Looking at the slots to be read is the router's."""
    d = spec.embedding_dim
    location, content, heads = spec.num_location_heads, spec.num_content_heads, spec.num_heads
    gates = 2 * heads * (spec.routing == "dynamic")
    order = spec.num_order_heads
    steered = pointers.LOGITS * location * len(pointers.START[spec.tape])
    outputs = spec.num_experts + gates + heads + steered + content + 5 * order
    router = 2.0 * d * outputs
    if spec.tape == "loop":
        router += 2.0 * d * location * (spec.max_laps + 1)
    if content:
        width = content * d // heads
        router += 2.0 * CONVOLUTION_WIDTH * d
        router += 2 * (2.0 * d * width + 2.0 * spec.num_memory_slots * width)
    if spec.num_association_heads:
        width = spec.num_association_heads * d // heads
        router += 2 * (2.0 * ASSOCIATION_WIDTH * d + 2.0 * d * width)
        router += 4.0 * spec.num_memory_slots * width
    if order:
        held = spec.num_memory_slots + 1
        router += 2.0 * CONVOLUTION_WIDTH * d
        router += order * (PLACING * held**2 + 2.0 * held * (d // heads))
    if heads:
        width = (location + content) * d // heads
        router += 2.0 * width * spec.top_k_slots + 2.0 * d * (spec.routing == "dynamic")
    expert = budget.expert_price(d, spec.expert_hidden_dim)
    characters = sum(size // 2 for size in spec.counters)
    return {
        "controller": spec.use_controller * (4.0 * d**2 + 2.0 * d),
        "counters": 2.0 * d * (sum(spec.counters) + 2 * characters),
        "router": router,
        "memory": spec.prices.writes + spec.prices.reads,
        "experts": bool(spec.num_experts) * spec.top_k_experts * expert,
    }


def _words_and_attention_flops(spec: ClassifierSpec, params):
    """The sum over a word's pieces, what brings it to D, and attention; a classifier's head
    works once a sequence and is left out."""
    attention = 2.0 * params["attention"]["kernel"].size  # of all members
    words = 2.0 * spec.piece_dim * (spec.max_pieces + spec.layer.embedding_dim)
    return attention + spec.num_members * words


def _component(path, parts) -> str:
    """Which of the `parts` of a layer, or what else."""
    names = [part.key for part in path]
    if names[0] in ("embed", "direction", "head", "attention"):
        return "embedding and head"
    part = names[1] if len(names) > 2 else names[0]
    part = "router" if part == "price" else part
    return part if part in parts else "norms"
