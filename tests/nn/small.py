"""Small models with random parameters, compiled once for all tests that share them."""

from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core import memory
from mocanet_jax.core.budget import BudgetConfig
from mocanet_jax.nn.config import ControllerConfig, ExpertsConfig, LayerConfig, MemoryConfig
from mocanet_jax.nn.experts import MlpExpert
from mocanet_jax.nn.heads import Content, Ring
from mocanet_jax.nn.heads.pointers import PointerState
from mocanet_jax.nn.models.sequence import MocaNet

VOCABULARY = 11
EASY = {
    "width": 8,
    "heads": (Ring(1, sharpness=0.7), Content(1)),
    "num_slots": 9,
    "active_slots": 2,
    "num_experts": 3,
    "top_k": 2,
    "hidden_dim": 6,
    "capacity_factor": 3.0,
    "exploration": 0.0,
    "groups": 0,
    "controller": True,
    "counters": (),
    "automata": None,
    "routing": "dynamic",
    "target": 1.0,
}
"""Two kinds of head, and room for every token with every expert, so that none is dropped."""
NO_HEADS = {"heads": ()}
ROUTINGS = ("dynamic", "topk")
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiling takes far longer than running."""


def layer(**changes) -> LayerConfig:
    """changes: of EASY, or other fields of LayerConfig."""
    c = EASY | changes
    own = {name: c.pop(name) for name in EASY}
    controller = memory = experts = None
    if own["controller"]:
        controller = ControllerConfig(own["counters"], automata=own["automata"])
    if own["heads"]:
        memory = MemoryConfig(own["heads"], own["num_slots"], own["active_slots"])
    if own["num_experts"]:
        experts = ExpertsConfig(
            own["num_experts"],
            own["top_k"],
            MlpExpert(own["hidden_dim"]),
            own["capacity_factor"],
            own["exploration"],
            own["groups"],
        )
    return LayerConfig(
        own["width"],
        controller,
        memory,
        experts,
        BudgetConfig(own["routing"], own["target"]),
        **c,
    )


def model(num_layers: int = 2, **changes) -> MocaNet:
    return MocaNet(VOCABULARY, num_layers, layer(**changes))


def of_form(time: str, **changes) -> MocaNet:
    """Two layers step by step; one in parallel, which takes longer to compile."""
    return model(2 if time == "scan" else 1, time=time, **changes)


@lru_cache
def random_params(net: MocaNet, seed: int = 0) -> dict:
    """Numpy arrays, float64. Shift biases favour steps forward, so that pointers move in
    training and in evaluation without leaving the memory."""
    with jax.enable_x64(False):
        shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 2), int))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = 0.5 * rng.normal(size=leaf.shape)
        names = jax.tree_util.keystr(path)
        if "pointer" in names and "bias" in names:
            values = values.reshape(-1, 4) + np.array([[-4.0, 0.0, 1.5, 0.0]])
        return half_open(path, values.reshape(leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)


def half_open(path, values):
    """Of a random parameter, one with which some gates of every kind are open and others
    closed."""
    gates = ("router_expert", "router_write_gate", "router_read_gate")
    if path[-1].key == "bias" and path[-2].key in gates:
        return 0.5 + 0.2 * values
    return values


@lru_cache
def compiled_start(net: MocaNet, batch: int, num_slots: int | None = None):
    """params → the state before a sequence, jitted."""
    return jax.jit(lambda params: net.apply(params, batch, num_slots, method="initial_state"))


MULTIPLIER = 2.5
"""λ with which some gates of random parameters are open and others closed."""


@lru_cache
def compiled(net: MocaNet, train: bool, hardness: float):
    """(params, tokens, state, mask, multiplier) → (logits, state', aux), jitted. Training tries
    the same tokens whatever they are."""
    settings = {"train": train, "hardness": hardness}
    settings["rngs"] = {"router": jax.random.key(0)} if train else None

    def run(params, tokens, state, mask, multiplier=MULTIPLIER):
        return net.apply(params, tokens, state, mask, multiplier=multiplier, **settings)

    return jax.jit(run, compiler_options=QUICK)


@lru_cache
def compiled_gradient(net: MocaNet):
    """(params, tokens, mask, hardness) → (gradient of a random loss on logits, logits)."""

    def loss(params, tokens, mask, hardness):
        settings = {"train": True, "hardness": hardness, "multiplier": MULTIPLIER}
        logits = net.apply(params, tokens, None, mask, **settings)[0]
        target = np.random.default_rng(3).normal(size=logits.shape)
        return jnp.sum(logits * jnp.asarray(target, logits.dtype) * mask[..., None]), logits

    return jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)


def random_tokens(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, (batch, length))


def settled(state):
    """A state in the form in which two equal states are equal arrays: memories with no decay
    pending, pointers of rings on the ring."""

    def settle(head):
        if not hasattr(head, "memory"):
            return head
        turn = head.memory.slots.shape[2]
        if isinstance(head, PointerState):
            head = head._replace(write=wrap(head.write, turn), read=wrap(head.read, turn))
        return head._replace(memory=memory.content(head.memory))

    def wrap(pointer, turn):
        angle = 2 * jnp.pi * pointer / turn
        return jnp.cos(angle), jnp.sin(angle)

    def of_layer(layer):
        heads = layer.memory
        return layer._replace(memory=None if heads is None else tuple(map(settle, heads)))

    return state._replace(layers=tuple(map(of_layer, state.layers)))


def in_segments(run, tokens, state, mask, cuts):
    """What a model of `compiled`, with its parameters, makes of tokens [B, T] cut at places in
    rising order, 0 and T among them, with the state carried: outputs [B, T, V], and the last
    state."""
    outputs = []
    for start, stop in pairwise(cuts):
        out, state, _ = run(tokens[:, start:stop], state, mask[:, start:stop])
        outputs.append(out)
    return np.concatenate(outputs, axis=1), state
