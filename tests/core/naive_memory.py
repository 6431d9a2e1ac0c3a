"""The delta-rule memory written as its definition, and random problems to try it on.

Axes: B batch, T time, H memory heads, S slots, A active slots per access, P value width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core import memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.memory import Accesses, MemoryState


class Shape(NamedTuple):
    B: int
    T: int
    H: int
    S: int
    P: int
    writes: int
    """A of the write addresses."""
    reads: int
    """A of the read addresses."""


class Inputs(NamedTuple):
    """Everything the memory is differentiable in; log_retention may be None."""

    slots: jax.Array
    log_decay: jax.Array
    write_weights: jax.Array
    read_weights: jax.Array
    value: jax.Array
    strength: jax.Array
    log_retention: jax.Array | None


class Problem(NamedTuple):
    inputs: Inputs
    write: np.ndarray
    read: np.ndarray
    """Slot numbers, int32 [B, T, H, A]."""


RETENTIONS = ("none", "one", "zero", "random", "mixed")


def random_problem(
    shape: Shape, retention: str, repeat: bool = False, seed: int = 0
) -> Problem:
    """Float64 inputs. retention: "mixed" has exact zeros and ones among random values.

    repeat: every write goes to one address with strength 1.
    """
    rng, (B, T, H, S, P, writes, reads) = np.random.default_rng(seed), shape

    def indices(active):
        every = np.broadcast_to(np.arange(S, dtype=np.int32), (B, T, H, S))
        return rng.permuted(every, axis=-1)[..., :active]

    def weights(active):
        raw = rng.uniform(0.1, 1, (B, T, H, active))
        return raw / np.linalg.norm(raw, axis=-1, keepdims=True)

    write, write_weights = indices(writes), weights(writes)
    strength = rng.choice([0, 1, rng.uniform()], (B, T, H))
    if repeat:
        write = np.repeat(write[:, :1], T, axis=1)
        write_weights = np.repeat(write_weights[:, :1], T, axis=1)
        strength = np.ones((B, T, H))
    log = {
        "none": None,
        "one": np.zeros((B, T, H)),
        "zero": np.full((B, T, H), -np.inf),
        "random": rng.uniform(-2, 0, (B, T, H)),
        "mixed": rng.choice([0, -np.inf, -0.5, -0.01], (B, T, H), p=[0.3, 0.2, 0.3, 0.2]),
    }
    inputs = Inputs(
        rng.normal(size=(B, H, S, P)),
        rng.uniform(-1, 0, (B, H, S)),
        write_weights,
        weights(reads),
        rng.normal(size=(B, T, H, P)),
        strength,
        log[retention],
    )
    return Problem(inputs, write, indices(reads))


def naive(inputs: Inputs, write: np.ndarray, read: np.ndarray):
    """Reads [B, T, H, P] and content [B, H, S, P], by a Python loop over dense matrices."""
    B, T, H, _ = write.shape
    b, h = np.ogrid[:B, :H]
    content, reads = inputs.slots * np.exp(inputs.log_decay)[..., None], []

    def dense(indices, weights):
        row = np.zeros(inputs.log_decay.shape, weights.dtype)
        row[b[..., None], h[..., None], indices] = weights
        return row

    for t in range(T):
        if inputs.log_retention is not None:
            content = np.exp(inputs.log_retention[:, t])[..., None, None] * content
        w = dense(write[:, t], inputs.write_weights[:, t])
        u = dense(read[:, t], inputs.read_weights[:, t])
        old = np.einsum("bhs,bhsp->bhp", w, content)
        delta = inputs.strength[:, t, :, None] * (inputs.value[:, t] - old)
        content = content + w[..., None] * delta[:, :, None]
        reads.append(np.einsum("bhs,bhsp->bhp", u, content))
    return np.stack(reads, axis=1), content


def naive_gradient(problem: Problem, at_reads: np.ndarray, at_content: np.ndarray) -> Inputs:
    """Gradient of sum(reads at_reads) + sum(content at_content), entry by entry.

    By the complex step, Im f(x + ih) / h, which needs no rule of differentiation and is
    exact to rounding (Squire and Trapp, 1998).
    """
    step = 1e-30
    inputs = problem.inputs._replace(
        **{n: x.astype(complex) for n, x in problem.inputs._asdict().items() if x is not None}
    )

    def slope(array, at):
        saved = array[at]
        array[at] += 1j * step
        reads, content = naive(inputs, problem.write, problem.read)
        array[at] = saved
        return (np.sum(reads * at_reads) + np.sum(content * at_content)).imag / step

    return jax.tree.map(
        lambda x: np.reshape([slope(x, at) for at in np.ndindex(x.shape)], x.shape), inputs
    )


def run_step(state, accesses):
    """`memory.step` over a sequence, with the arguments of `memory.recurrent`."""

    def one(state, x):
        reads, state = memory.step(state, x)
        return state, reads

    sequence = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), accesses)
    state, reads = jax.lax.scan(one, state, sequence)
    return jnp.moveaxis(reads, 0, 1), state


def apply_form(form, inputs: Inputs, write, read, **options):
    """A form of the package on the arguments of `naive`; returns reads and the next state."""
    return form(
        MemoryState(inputs.slots, inputs.log_decay),
        Accesses(
            Address(jnp.asarray(write), inputs.write_weights),
            Address(jnp.asarray(read), inputs.read_weights),
            inputs.value,
            inputs.strength,
            inputs.log_retention,
        ),
        **options,
    )
