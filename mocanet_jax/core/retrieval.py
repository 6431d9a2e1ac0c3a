"""Nearest neighbours as a second prediction (kNN-LM: Khandelwal et al., 2020, "Generalization
through Memorization: Nearest Neighbor Language Models").

A datastore holds pairs (k_i, v_i): features of a place in a text, and the token that came next.
Of a query q, the features of another place, and its K nearest neighbours

    p_kNN(v) = Σ_{i: v_i = v} exp(−|q − k_i|² / T) / Σ_i exp(−|q − k_i|² / T)
    p(v)     = (1 − w) p_LM(v) + w p_kNN(v)

(their equations 2 and 3, with the temperature T of kNN-MT: Khandelwal et al., 2021). Distances
are squared, and infinite for a neighbour that is missing; where all are, p_kNN is 0.

The first three functions take arrays of JAX or of NumPy and return the same.

Axes: N queries, K neighbours, V vocabulary.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


def neighbour_weights(distances: Array, temperature: Array | float) -> Array:
    """Share of each neighbour in p_kNN, float [..., K], of distances [..., K]. temperature: T,
    above 0."""
    xp = distances.__array_namespace__()
    nearest = xp.min(distances, axis=-1, keepdims=True)
    nearest = xp.where(xp.isfinite(nearest), nearest, xp.zeros_like(nearest))
    weights = xp.exp((nearest - distances) / temperature)
    # The nearest has 1, unless there is none.
    return weights / xp.maximum(xp.sum(weights, axis=-1, keepdims=True), xp.ones_like(nearest))


def neighbour_probability(distances: Array, match: Array, temperature: Array | float) -> Array:
    """p_kNN of one token a query, float [N] in [0, 1]. distances: [N, K]. match: bool [N, K],
    whose value is this token."""
    shares = neighbour_weights(distances, temperature)
    return shares.__array_namespace__().sum(shares * match, axis=-1)


def log_mixed(log_p: Array, neighbours: Array, weight: float) -> Array:
    """log p of one token a query, float [N]. log_p: [N], log p_LM. neighbours: [N], p_kNN.
    weight: w in [0, 1); at 0 the result is log_p to the last bit."""
    xp = log_p.__array_namespace__()
    return xp.logaddexp(log_p + math.log1p(-weight), xp.log(weight * neighbours))


def mixed_logits(
    logits: jax.Array,
    distances: jax.Array,
    tokens: jax.Array,
    weight: jax.Array | float,
    temperature: jax.Array | float,
) -> jax.Array:
    """Logits [V] whose softmax is p, of logits of p_LM. distances, tokens: [K], int32 v_i.
    weight: as of `log_mixed`."""
    shares = neighbour_weights(distances, temperature)
    neighbours = jnp.zeros_like(logits).at[tokens].add(shares.astype(logits.dtype))
    copied = jax.nn.logsumexp(logits) + jnp.log(weight * neighbours)
    return jnp.logaddexp(logits + jnp.log1p(-weight), copied)
