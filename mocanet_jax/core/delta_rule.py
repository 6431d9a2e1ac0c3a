"""The gated delta rule on dense keys.

Axes: B batch, T time, H heads, S key width (the slots of a memory, where keys are addresses),
P value width, C chunk; n counts chunks.

Per token and head, with write key k, read key q, value v, strength β and retention α, the state
V ∈ [S, P] becomes

    V ← α V
    V ← V + k β (v − kᵀ V)ᵀ        write
    r = qᵀ V                       read, after the write

(Yang et al., 2024, "Gated Delta Networks", eq. 10, whose S is Vᵀ here). Keys depend on tokens
and never on V, so a sequence can be run token by token, or as matrix products in chunks.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

MIN_LOG_RETENTION = -60.0
"""Retentions below exp(-60) act as 0; keeps differences of logarithms finite."""


class Tokens(NamedTuple):
    """What the tokens of a sequence do to the state.

    write_keys, read_keys: float [B, T, H, S]. value: float [B, T, H, P]. strength: β, float
    [B, T, H]. log_retention: log α, float [B, T, H], at most 0.
    """

    write_keys: jax.Array
    read_keys: jax.Array
    value: jax.Array
    strength: jax.Array
    log_retention: jax.Array


def recurrent(state: jax.Array, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
    """A sequence token by token, as a scan over time of cost O(S·P) a step.

    state: float [B, H, S, P]. Returns what was read, [B, T, H, P], and the next state.
    """
    _check(state, tokens)

    def one_step(state, x):
        k, q, v, beta, log_alpha = x
        state = jnp.exp(log_alpha)[..., None, None] * state
        delta = beta[..., None] * (v - jnp.einsum("bhs,bhsp->bhp", k, state))
        state = state + k[..., None] * delta[:, :, None]
        return state, jnp.einsum("bhs,bhsp->bhp", q, state)

    log_retention = jnp.maximum(tokens.log_retention, MIN_LOG_RETENTION)
    tokens = tokens._replace(log_retention=log_retention)
    time_major = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tokens)
    state, reads = jax.lax.scan(one_step, state, time_major)
    return jnp.moveaxis(reads, 0, 1), state


def chunked(
    state: jax.Array, tokens: Tokens, chunk_size: int = 16
) -> tuple[jax.Array, jax.Array]:
    """A sequence, as matrix products inside chunks of C tokens; arguments as `recurrent`.

    The values δ that a chunk writes solve a unit lower-triangular system (the WY
    form: Yang et al., 2024, "Parallelizing Linear Transformers with the Delta
    Rule", section 3). With W, U the write and read keys, g the running
    log retention within the chunk, and Γ_ts = exp(g_t − g_s) for s ≤ t:

        (I + diag(β) strict(W Wᵀ ⊙ Γ)) δ = diag(β) (v − e^g ⊙ W V)
        r  = e^g ⊙ U V + lower(U Wᵀ ⊙ Γ) δ
        V' = e^{g_C} V + Σ_s e^{g_C − g_s} w_s δ_sᵀ

    chunk_size: C, a power of two; T need not be a multiple of it.
    """
    _check(state, tokens)
    write_keys, read_keys, value, strength, log_retention = tokens
    if chunk_size < 1 or chunk_size & (chunk_size - 1):
        raise ValueError(f"chunk_size must be a power of two, not {chunk_size}")
    length = value.shape[1]

    def chunks(x):  # [B, T, H, ...] -> [n, B, H, C, ...]; padding writes nothing
        pad = [(0, 0), (0, -length % chunk_size)] + [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x, pad)
        x = x.reshape(x.shape[0], -1, chunk_size, *x.shape[2:])
        return jnp.moveaxis(x, (1, 3), (0, 2))

    writes, beta = chunks(write_keys), chunks(strength)
    g = jnp.cumsum(jnp.maximum(chunks(log_retention), MIN_LOG_RETENTION), axis=-1)

    both = jnp.concatenate([writes, chunks(read_keys)], axis=-2)
    overlap = jnp.einsum("nbhcs,nbhds->nbhcd", both, writes)
    g_ts = g[..., :, None] - g[..., None, :]
    lower = jnp.tril(jnp.ones((chunk_size, chunk_size), bool))[None, None, None]
    gamma = jnp.exp(jnp.where(lower, g_ts, -jnp.inf))
    to_writes = jnp.tril(overlap[..., :chunk_size, :] * gamma, -1)
    to_reads = overlap[..., chunk_size:, :] * gamma
    solve = _unit_lower_inverse(beta[..., None] * to_writes) * beta[..., None, :]
    from_start = both * jnp.exp(jnp.concatenate([g, g], axis=-1))[..., None]
    to_end = writes * jnp.exp(g[..., -1:] - g)[..., None]

    def one_chunk(state, x):
        from_start, to_end, kept, v, solve, to_reads = x
        seen = from_start @ state
        delta = solve @ (v - seen[..., :chunk_size, :])
        reads = seen[..., chunk_size:, :] + to_reads @ delta
        return kept * state + jnp.einsum("bhcs,bhcp->bhsp", to_end, delta), reads

    kept = jnp.exp(g[..., -1])[..., None, None]
    state, reads = jax.lax.scan(
        one_chunk, state, (from_start, to_end, kept, chunks(value), solve, to_reads)
    )
    reads = jnp.moveaxis(reads, (0, 2), (1, 3))
    return reads.reshape(reads.shape[0], -1, *reads.shape[3:])[:, :length], state


def _check(state, tokens):
    write_keys, read_keys, value, strength, log_retention = tokens
    chex.assert_rank(state, 4)
    batch, heads, keys, width = state.shape
    shape = (batch, value.shape[1], heads)
    chex.assert_shape([write_keys, read_keys], (*shape, keys))
    chex.assert_shape(value, (*shape, width))
    chex.assert_shape([strength, log_retention], shape)
    chex.assert_type([state, *tokens], float)


@jax.custom_vjp
def _unit_lower_inverse(strict: jax.Array) -> jax.Array:
    """(I + L)⁻¹ of strictly lower-triangular L, [..., C, C], C a power of two.

    Blocks of doubling size: the inverse of [[X, 0], [Y, Z]] has −Z⁻¹ Y X⁻¹ in its
    corner. Only matrix products, and as stable as forward substitution, which the
    shorter Neumann product is not.
    """
    size = strict.shape[-1]
    inverse = jnp.ones((*strict.shape[:-1], 1, 1), strict.dtype)
    block = 1
    while block < size:
        pairs = size // (2 * block)
        tiles = strict.reshape(*strict.shape[:-2], pairs, 2 * block, pairs, 2 * block)
        diagonal = jnp.moveaxis(jnp.diagonal(tiles, axis1=-4, axis2=-2), -1, -3)
        first, second = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
        corner = -second @ diagonal[..., block:, :block] @ first
        top = jnp.concatenate([first, jnp.zeros_like(corner)], axis=-1)
        inverse = jnp.concatenate([top, jnp.concatenate([corner, second], axis=-1)], axis=-2)
        block *= 2
    return inverse[..., 0, :, :]


def _unit_lower_inverse_forward(strict):
    inverse = _unit_lower_inverse(strict)
    return inverse, inverse


def _unit_lower_inverse_backward(inverse, d_inverse):
    transposed = jnp.swapaxes(inverse, -1, -2)
    return (jnp.tril(-(transposed @ d_inverse @ transposed), -1),)


_unit_lower_inverse.defvjp(_unit_lower_inverse_forward, _unit_lower_inverse_backward)
