"""The token router: per token, which experts compute and which slots are written and read.

Axes: B batch, T time, D width, H memory heads (location heads first, then content
heads), S slots, A active slots per access, E experts.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import addressing, gating
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.budget import Prices
from mocanet_jax.nn.partition import by_sequence

CONVOLUTION_WIDTH = 3
LOCATION_START = {"write": (-4.0, -2.0, 4.0), "read": (-2.0, 4.0, -2.0)}
"""Initial logits of the shifts −1, 0, +1: write pointers move, read pointers rest. With
both starting at half a step, training sticks at a bag of tokens in the first slot."""

OPEN_START = 2.0
"""Initial logit of dynamic gates: all parts start engaged, and the price closes them."""

SHARPNESS_START = -3.0
"""Initial logit of the extra sharpness: softplus(-3) ≈ 0.05."""


class RouterState(NamedTuple):
    """write_pointer, read_pointer: float [B, location heads], in slots, in [0, S].
    recent: float [B, 2, D], the last inputs, for the content heads' convolution.
    """

    write_pointer: jax.Array
    read_pointer: jax.Array
    recent: jax.Array


class Route(NamedTuple):
    """Decisions for every token.

    expert_logits: float [B, T, E]; margins above the price where routing is dynamic.
    write, read: addresses [B, T, H, A].
    strength: float [B, T, H] in [0, 1], β of the write; 0 where masked or not written.
    writes, reads: float [B, T, H], 1 where the head writes and reads, else 0.
    write_margins, read_margins: float [B, T, H], above the price; None where routing is fixed.
        The router leaves reads 1 where unmasked and read_margins None, since a read is decided
        by the memory bank, which sees what it would get; it gives its own share in the
        decision, read_logits.
    log_retention: float [B, T, H], log α; 0 (keep) on location heads and where masked.
        None where there are no content heads.
    positions: float [B, T, 2, location heads], write and read pointers, not wrapped.
    """

    expert_logits: jax.Array | None
    write: Address | None
    read: Address | None
    strength: jax.Array | None
    log_retention: jax.Array | None
    positions: jax.Array | None
    writes: jax.Array | None
    reads: jax.Array | None
    read_logits: jax.Array | None
    write_margins: jax.Array | None
    read_margins: jax.Array | None


class Router(nn.Module):
    """Linear decisions from the layer's state.

    Location heads step their pointers by −1, 0 or +1 and choose how sharply to address
    around them, as the γ of Graves et al., 2014, eq. 9. Content heads compare a query with
    S learned keys; the write query sees the last three tokens through a depthwise causal
    convolution, so that a value can be stored under the token before it (as the short
    convolutions of H3, Fu et al., 2023).

    temperature: of content scores, > 0. sharpness: κ of the softest ring address, > 0. It
        starts there, so that the gradient feels the next slot, and cannot go below, where
        reading the mean of the neighbours would be a trap.
    """

    num_experts: int
    num_location_heads: int
    num_content_heads: int
    num_slots: int
    num_active: int
    temperature: float
    sharpness: float
    dynamic: bool

    @property
    def num_heads(self) -> int:
        return self.num_location_heads + self.num_content_heads

    def initial_state(self, batch: int, embedding_dim: int) -> RouterState:
        pointer = jnp.zeros((batch, self.num_location_heads))
        recent = jnp.zeros((batch, CONVOLUTION_WIDTH - 1, embedding_dim))
        return RouterState(pointer, pointer, recent)

    @nn.compact
    def __call__(
        self,
        z: jax.Array,
        mask: jax.Array,
        state: RouterState,
        num_slots: int,
        rounding: jax.Array | float,
        costs: Prices,
    ) -> tuple[Route, RouterState]:
        """z: [B, T, D]; mask: bool [B, T]; num_slots: S of the memory in use.

        rounding: of pointer shifts, [] or [B], in [0, 1]; 1 moves pointers by whole slots.
        costs: in logits, of one expert and one head's write; for dynamic gates.
        """
        expert_logits = None
        if self.num_experts:
            expert_logits = (
                gating.margin(self._gate(z, self.num_experts, "expert"), costs.experts)
                if self.dynamic
                else nn.Dense(self.num_experts, use_bias=False, name="expert")(z)
            )
        if not self.num_heads:
            return Route(expert_logits, *[None] * 10), state

        strength = nn.sigmoid(nn.Dense(self.num_heads, name="strength")(z))
        strength = strength * mask[..., None]
        writes = reads = jnp.broadcast_to(mask[..., None], strength.shape).astype(z.dtype)
        read_logits = write_margins = None
        if self.dynamic:
            read_logits = self._gate(z, self.num_heads, "read_gate")
            write_logits = self._gate(z, self.num_heads, "write_gate")
            write_margins = gating.margin(write_logits, costs.writes)
            writes = writes * gating.open_gate(write_margins)
            strength = strength * writes
        addresses, positions, log_retention = [], None, None
        if self.num_location_heads:
            address, positions, state = self._location(z, mask, state, num_slots, rounding)
            addresses.append(address)
        if self.num_content_heads:
            address, state = self._content(z, mask, state)
            addresses.append(address)
            log_retention = self._log_retention(z, mask)
        write, read = jax.tree.map(lambda *heads: jnp.concatenate(heads, axis=2), *addresses)
        route = Route(
            expert_logits,
            write,
            read,
            strength,
            log_retention,
            positions,
            writes,
            reads,
            read_logits,
            write_margins,
            read_margins=None,
        )
        return route, state

    def _gate(self, z, count, name):
        start = nn.initializers.constant(OPEN_START)
        return nn.Dense(count, bias_init=start, name=name)(z)

    def _location(self, z, mask, state, num_slots, rounding):
        heads = self.num_location_heads
        rounding = jnp.broadcast_to(rounding, z.shape[:1])
        addresses, positions, pointers = [], [], []
        for name, pointer in (("write", state.write_pointer), ("read", state.read_pointer)):

            def start(key, shape, dtype=jnp.float32, logits=LOCATION_START[name]):
                return jnp.tile(jnp.array([*logits, SHARPNESS_START], dtype), heads)

            logits = nn.Dense(4 * heads, bias_init=start, name=f"{name}_pointer")(z)
            logits = logits.reshape(*z.shape[:2], heads, 4)
            shift = addressing.expected_shift(logits[..., :3], rounding[:, None, None])
            position, pointer = addressing.advance(pointer, shift * mask[..., None], num_slots)
            sharpness = self.sharpness * (1 + nn.softplus(logits[..., 3]))
            addresses.append(
                addressing.ring_address(position, num_slots, self.num_active, sharpness)
            )
            positions.append(position)
            pointers.append(pointer)
        state = state._replace(write_pointer=pointers[0], read_pointer=pointers[1])
        return tuple(addresses), jnp.stack(positions, axis=2), state

    def _content(self, z, mask, state):
        heads, width = self.num_content_heads, z.shape[-1] // self.num_heads
        keys = self.param(
            "keys", nn.initializers.normal(width**-0.5), (heads, self.num_slots, width)
        )
        window, recent = causal_window(z, mask, state.recent)
        taps = self.param(
            "convolution", nn.initializers.normal(0.5), (CONVOLUTION_WIDTH, z.shape[-1])
        )
        sources = {"write": jnp.einsum("btkd,kd->btd", window, taps), "read": z}
        addresses = []
        for name, source in sources.items():
            query = nn.Dense(heads * width, use_bias=False, name=f"{name}_query")(source)
            query = query.reshape(*z.shape[:2], heads, width)
            scores = jnp.einsum("bthp,hsp->bths", query, keys)
            best = partial(
                addressing.content_address,
                num_active=self.num_active,
                temperature=self.temperature,
            )
            addresses.append(by_sequence(best, scores))
        return tuple(addresses), state._replace(recent=recent)

    def _log_retention(self, z, mask):
        start = nn.initializers.constant(6.0)
        logits = nn.Dense(self.num_content_heads, bias_init=start, name="retention")(z)
        held = jnp.zeros((*mask.shape, self.num_location_heads))
        return jnp.concatenate([held, nn.log_sigmoid(logits) * mask[..., None]], axis=-1)


def causal_window(
    z: jax.Array, mask: jax.Array, recent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Each token with the unmasked tokens before it, oldest first.

    z: [B, T, D]; mask: bool [B, T]; recent: [B, W − 1, D], the tokens before z.
    Returns windows [B, T, W, D] and the last W − 1 unmasked tokens. Masked tokens are
    skipped wherever they stand.
    """
    length, before = z.shape[1], recent.shape[1]
    sequence = jnp.concatenate([recent, z], axis=1)
    live = jnp.concatenate([jnp.ones((z.shape[0], before), bool), mask], axis=1)
    places = jnp.where(live, jnp.arange(before + length), 0)
    latest = jax.lax.cummax(places, axis=1)
    previous = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)))

    def follow(start):  # start, and the W − 2 live places before it
        chain = [start]
        for _ in range(before - 1):
            chain.append(jnp.take_along_axis(previous, chain[-1], axis=1))
        return chain[::-1]

    def take(at):
        return jnp.take_along_axis(sequence, at[..., None], axis=1)

    window = [take(at) for at in follow(previous[:, before:])]
    recent = jnp.concatenate([take(at) for at in follow(latest[:, -1:])], axis=1)
    return jnp.stack([*window, z], axis=2), recent
