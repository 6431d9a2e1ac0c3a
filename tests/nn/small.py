"""Small models with random parameters, compiled once for all tests that share them."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core import memory
from mocanet_jax.nn.layer import LayerSpec
from mocanet_jax.nn.models.sequence import MocaNet

VOCABULARY = 11
EASY = {
    "embedding_dim": 8,
    "num_experts": 3,
    "expert_hidden_dim": 6,
    "top_k_experts": 2,
    "expert_capacity_factor": 3.0,
    "num_location_heads": 1,
    "num_content_heads": 1,
    "num_memory_slots": 9,
    "top_k_slots": 2,
    "router_temperature": 1.0,
    "pointer_sharpness": 0.7,
    "exploration": 0.0,
}
"""Both kinds of head, and room for every token with every expert, so that none is dropped."""
ROUTINGS = ("dynamic", "topk")
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiling takes far longer than running."""


def spec(**changes) -> LayerSpec:
    return LayerSpec(**EASY | changes)


def model(num_layers: int = 2, **changes) -> MocaNet:
    return MocaNet(VOCABULARY, num_layers, spec(**changes))


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
    shut."""
    if path[-1].key == "price":
        return 2 + np.abs(values)
    if path[-1].key == "bias" and path[-2].key in ("expert", "write_gate", "read_gate"):
        return 0.5 + 0.2 * values
    return values


@lru_cache
def compiled_start(net: MocaNet, batch: int, num_slots: int | None = None):
    """params → the state before a sequence, jitted."""
    return jax.jit(lambda params: net.apply(params, batch, num_slots, method="initial_state"))


@lru_cache
def compiled(net: MocaNet, train: bool, rounding: float):
    """(params, tokens, state, mask) → (logits, state', aux), jitted. Training tries the same
    tokens whatever they are."""
    rngs = {"router": jax.random.key(0)} if train else None

    def run(params, tokens, state, mask):
        return net.apply(params, tokens, state, mask, train=train, rounding=rounding, rngs=rngs)

    return jax.jit(run, compiler_options=QUICK)


@lru_cache
def compiled_gradient(net: MocaNet):
    """(params, tokens, mask, rounding) → (gradient of a random loss on logits, logits)."""

    def loss(params, tokens, mask, rounding):
        logits = net.apply(params, tokens, None, mask, train=True, rounding=rounding)[0]
        target = np.random.default_rng(3).normal(size=logits.shape)
        return jnp.sum(logits * jnp.asarray(target, logits.dtype) * mask[..., None]), logits

    return jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)


def random_tokens(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, (batch, length))


def settled(state):
    """A state in the form in which two equal states are equal arrays: memories with no decay
    pending, pointers on the ring."""

    def settle(layer):
        held, router = layer.memory, layer.router
        if held is None:
            return layer
        turn = held.num_slots
        router = router._replace(
            write_pointer=wrap(router.write_pointer, turn),
            read_pointer=wrap(router.read_pointer, turn),
        )
        if held.slots is not None:
            held = held._replace(slots=memory.content(held.slots))
        return layer._replace(router=router, memory=held)

    def wrap(pointer, turn):
        angle = 2 * jnp.pi * pointer / turn
        return jnp.cos(angle), jnp.sin(angle)

    return state._replace(layers=tuple(settle(layer) for layer in state.layers))
