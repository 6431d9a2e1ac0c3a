"""Random memories of one head, and accesses to them, for benchmarks.

Axes: B batch, T time, S slots, A active slots, P width.
"""

import jax
import jax.numpy as jnp

from mocanet_jax.core import memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.memory import MemoryState

WIDTH, ACTIVE = 128, 3
"""P and A."""


def problem(
    batch: int, length: int, slots: int, retention: bool, moving: bool = False
) -> tuple[MemoryState, tuple]:
    """A state, and the other arguments of a form of the memory for T tokens.

    moving: addresses advance by a slot a token, as those of pointer heads; else random.
    """
    keys, shape = jax.random.split(jax.random.key(0), 4), (batch, length, 1)
    first = jax.random.randint(keys[0], (2, *shape, 1), 0, slots)
    if moving:
        first = jnp.broadcast_to(jnp.arange(length).reshape(1, 1, -1, 1, 1), first.shape)
    indices = (first + jnp.arange(ACTIVE).reshape(1, 1, 1, 1, -1)) % slots
    weights = jnp.full((*shape, ACTIVE), ACTIVE**-0.5)
    state = jax.random.normal(keys[1], (batch, 1, slots, WIDTH))
    return memory.initial_memory(state, retention), (
        Address(indices[0], weights),
        Address(indices[1], weights + 0),  # arrays of its own, as in a model
        jax.random.normal(keys[2], (*shape, WIDTH)),
        jax.nn.sigmoid(jax.random.normal(keys[3], shape)),
        jnp.full(shape, -1e-3) if retention else None,
    )
