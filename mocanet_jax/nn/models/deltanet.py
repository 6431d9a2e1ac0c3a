"""Gated DeltaNet (Yang et al., 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule").

The gated delta rule of core/delta_rule.py, with dense keys:

    q, k, v = silu(conv(W z))           a short causal convolution in every channel
    k ← k / ‖k‖;  q ← S^-1/2 q / ‖q‖
    β = σ(W_β z);  log α = −e^a softplus(W_α z + b)
    output = W_o (norm(r) ⊙ silu(W_g z))

Axes: B batch, T time, D width, H heads, S key width per head, P value width per head,
N channels of q, k and v together, W width of the convolution.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import delta_rule
from mocanet_jax.core.convolution import causal_convolution
from mocanet_jax.nn.models.baseline import BaselineSpec
from mocanet_jax.nn.parameters import declared

CONVOLUTION_WIDTH = 4
FASTEST_RATE = 16.0
"""e^a starts uniform in [1, 16], and softplus(b) log-uniform in STEPS (Mamba-2: Dao and Gu,
2024): retentions from 0.2 to 0.999 a token."""

STEPS = (1e-3, 1e-1)


@dataclass(frozen=True)
class DeltaNetSpec(BaselineSpec):
    """num_heads, key_dim, value_dim: H, S and P; the state of a layer holds H·S·P numbers.

    form: "chunked" runs sequences as matrix products in chunks of `chunk_size` tokens,
        "recurrent" token by token. Same values either way.
    """

    num_heads: int
    key_dim: int
    value_dim: int
    chunk_size: int
    form: Literal["chunked", "recurrent"]

    def __post_init__(self):
        super().__post_init__()
        if self.chunk_size & (self.chunk_size - 1):
            raise ValueError(f"chunk_size must be a power of two, not {self.chunk_size}")

    def mixer(self) -> nn.Module:
        return GatedDelta(self)

    def mixer_flops(self) -> float:
        """Projections of q, k, v, the output gate, the output, α and β; convolutions; and of
        the state its decay, recall, write and read. Chunks compute more, in faster products."""
        keys, values = self.num_heads * self.key_dim, self.num_heads * self.value_dim
        channels = 2 * keys + values
        projections = 2.0 * self.width * (channels + 2 * values + 2 * self.num_heads)
        return projections + 2.0 * CONVOLUTION_WIDTH * channels + 7.0 * keys * self.value_dim


class DeltaNetState(NamedTuple):
    """recent: float [B, W − 1, N], what the convolution still sees of earlier tokens.
    held: float [B, H, S, P].
    """

    recent: jax.Array
    held: jax.Array


class GatedDelta(nn.Module):
    """The mixer of a gated DeltaNet."""

    spec: DeltaNetSpec

    def initial_state(self, batch: int, num_slots: int | None = None) -> DeltaNetState:
        heads, keys, values = self.spec.num_heads, self.spec.key_dim, self.spec.value_dim
        channels = heads * (2 * keys + values)
        return DeltaNetState(
            jnp.zeros((batch, CONVOLUTION_WIDTH - 1, channels)),
            jnp.zeros((batch, heads, keys, values)),
        )

    @nn.compact
    def __call__(
        self, z: jax.Array, mask: jax.Array, state: DeltaNetState
    ) -> tuple[jax.Array, DeltaNetState]:
        """z: [B, T, D]; mask: bool [B, T]. Returns [B, T, D] and the next state."""
        spec = self.spec
        heads, keys = spec.num_heads, spec.num_heads * spec.key_dim
        channels = state.recent.shape[-1]
        dense = lambda count, name: nn.Dense(count, use_bias=False, name=name)

        taps = self.param("convolution", _taps_start, (CONVOLUTION_WIDTH, channels))
        seen, recent = causal_convolution(
            dense(channels, "input")(z), mask, state.recent, {"qkv": taps}
        )
        q, k, v = (
            part.reshape(*mask.shape, heads, -1)
            for part in jnp.split(nn.silu(seen["qkv"]), [keys, 2 * keys], axis=-1)
        )
        live = mask[..., None]
        strength = nn.sigmoid(dense(heads, "strength")(z)) * live
        step = nn.softplus(nn.Dense(heads, bias_init=_step_start, name="decay")(z))
        rate = jnp.exp(declared(self, "log_rate", _log_rate_start, (heads,), decay=False))
        log_retention = -step * rate[None, None] * live

        queries = _unit(q) * spec.key_dim**-0.5
        tokens = delta_rule.Tokens(_unit(k), queries, v, strength, log_retention)
        if spec.form == "chunked" and z.shape[1] > 1:
            read, held = delta_rule.chunked(state.held, tokens, spec.chunk_size)
        else:
            read, held = delta_rule.recurrent(state.held, tokens)
        read = nn.RMSNorm(name="norm")(read).reshape(*mask.shape, -1)
        gate = nn.silu(dense(read.shape[-1], "gate")(z))
        return dense(spec.width, "output")(read * gate), DeltaNetState(recent, held)


def _unit(x):
    """To unit L2 norm over the last axis; 0 stays 0, with a gradient."""
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)


def _taps_start(key, shape, dtype=jnp.float32):
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _step_start(key, shape, dtype=jnp.float32):
    low, high = jnp.log(jnp.array(STEPS, dtype))
    step = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
    return step + jnp.log(-jnp.expm1(-step))  # softplus, inverted


def _log_rate_start(key, shape, dtype=jnp.float32):
    return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, FASTEST_RATE))
