"""Finite automata: the distribution over states after every token.

Axes: B batch, T time, A automata, N states.

    s_t = M_t s_{t−1}

where column j of M_t says where state j goes: a distribution while it is learned, one-hot in an
automaton. Composition of maps is associative, so time may run as a scan (fast on CPU: a product
of matrix and vector a step) or as a parallel prefix (fast on accelerators: products of
matrices). That any automaton is a linear recurrence with such matrices is used by Terzić et
al. (2025, "Structured Sparse Transition Matrices to Enable State Tracking in State-Space
Models", PD-SSM, arXiv 2509.22284). Both forms share one hand-written gradient: the same
recurrence run backwards in time with transposed maps.
"""

from functools import partial

import chex
import jax
import jax.numpy as jnp

from mocanet_jax.core.recurrence import Form

ROUNDS = 6
"""Of Sinkhorn's iteration: rows of maps drawn at random then sum to 1 within 2 %."""

EPSILON = 1e-6
"""In the variance of logits that are all equal, which stay so."""


def naive_states(maps: jax.Array, initial: jax.Array) -> jax.Array:
    """As `automaton_states`, from the definition: the maps of tokens 0 … t as one matrix."""
    composed, states = jnp.eye(maps.shape[-1], dtype=maps.dtype)[None, None], []
    for t in range(maps.shape[1]):
        composed = maps[:, t] @ composed
        states.append(jnp.einsum("baij,baj->bai", composed, initial))
    return jnp.stack(states, axis=1)


def balanced(logits: jax.Array) -> jax.Array:
    """Logits of maps whose softmax over the last axis is nearly doubly stochastic, so that maps
    near to one-hot are permutations: Sinkhorn's iteration (Sinkhorn, 1964) on logarithms, as of
    Mena et al. (2018, "Learning Latent Permutations with Gumbel-Sinkhorn Networks").

    logits: float [..., N, N], of which state leads to which. Returns the same shape.
    """
    chex.assert_type(logits, float)
    for _ in range(ROUNDS):
        logits = jax.nn.log_softmax(logits, axis=-1)
        logits = jax.nn.log_softmax(logits, axis=-2)
    return logits


def spread(logits: jax.Array, least: float) -> jax.Array:
    """Logits less their mean over the last axis, and enlarged where their standard deviation is
    below `least`, to that; float, the shape of logits. The softmax of others is as it was."""
    chex.assert_type(logits, float)
    centred = logits - jnp.mean(logits, axis=-1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + EPSILON)
    return centred * jnp.maximum(1.0, least / deviation)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def automaton_states(maps: jax.Array, initial: jax.Array, form: Form = "scan") -> jax.Array:
    """maps: float [B, T, A, N, N], to state i from state j; columns of sum 1. initial: float
    [B, A, N], before token 0. Returns the states after each token, float [B, T, A, N]."""
    chex.assert_rank([maps, initial], [5, 3])
    batch, _, automata, size, _ = maps.shape
    chex.assert_shape(initial, (batch, automata, size))
    chex.assert_shape(maps, (*maps.shape[:-1], size))
    chex.assert_type([maps, initial], float)
    first = _apply(maps[:, 0], initial)
    if form == "associative":
        inputs = jnp.zeros(maps.shape[:-1], maps.dtype).at[:, 0].set(first)
        return _recurrence(maps, inputs, form)

    def step(state, now):
        state = _apply(now, state)
        return state, state

    _, states = jax.lax.scan(step, initial, jnp.swapaxes(maps, 0, 1))
    return jnp.swapaxes(states, 0, 1)


def _apply(maps, states):
    return jnp.sum(maps * states[..., None, :], axis=-1)


def _recurrence(maps, inputs, form, reverse=False):
    """s_t = M_t s_{t−1} + x_t from 0 before the first step, or after the last."""
    if form == "associative":
        return jax.lax.associative_scan(_compose, (maps, inputs), axis=1, reverse=reverse)[1]

    def step(state, now):
        state = _apply(now[0], state) + now[1]
        return state, state

    time_major = (jnp.swapaxes(maps, 0, 1), jnp.swapaxes(inputs, 0, 1))
    start = jnp.zeros_like(inputs[:, 0])
    _, states = jax.lax.scan(step, start, time_major, reverse=reverse)
    return jnp.swapaxes(states, 0, 1)


def _compose(earlier, later):
    m1, x1 = earlier
    m2, x2 = later
    return m2 @ m1, _apply(m2, x1) + x2


def _forward(maps, initial, form):
    states = automaton_states(maps, initial, form)
    return states, (maps, initial, states)


def _backward(form, residuals, d_states):
    """g_t = dL/ds_t + M_{t+1}ᵀ g_{t+1}; then dM_t = g_t s_{t−1}ᵀ, and dL/ds_{−1} = M_0ᵀ g_0."""
    maps, initial, states = residuals
    back = jnp.swapaxes(maps, -1, -2)
    following = jnp.concatenate([back[:, 1:], jnp.zeros_like(back[:, :1])], axis=1)
    g = _recurrence(following, d_states, form, reverse=True)
    previous = jnp.concatenate([initial[:, None], states[:, :-1]], axis=1)
    return g[..., :, None] * previous[..., None, :], _apply(back[:, 0], g[:, 0])


automaton_states.defvjp(_forward, _backward)
