"""The token router: per token, which experts compute and which slots are written and read.

Axes: B batch, T time, D width, H memory heads (by location first, then by content, by
association, by order), S slots, A active slots per access, E experts.
"""

from functools import partial
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core import addressing, gating
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.budget import Prices
from mocanet_jax.core.convolution import causal_convolution
from mocanet_jax.core.precision import full, product
from mocanet_jax.core.rounding import indecision, rounded
from mocanet_jax.nn.partition import by_sequence

CONVOLUTION_WIDTH = 3
ASSOCIATION_WIDTH = 8
"""Tokens that a convolution of content heads and of association heads sees."""

POINTER_START = {
    "ring": {"write": (-4.0, -2.0, 4.0), "read": (-2.0, 4.0, -2.0)},
    "loop": {"write": (-4.0, -2.0, 4.0), "read": (0.0, 0.0, 1.0)},
    "stack": {"top": (-1.0, -1.0, 2.0)},
    "order": {"place": (0.0, 0.0, 1.0)},
}
"""Initial logits of the shifts −1, 0, +1: write pointers move, and read pointers rest on a
ring. With both starting at half a step, training sticks at a bag of tokens in the first slot.
On a loop reads start undecided, since it is left to learn whether they go forwards or back.
On a stack a token starts as a push, and can still become a pop."""

OPEN_START = 2.0
"""Initial logit of dynamic gates: all parts start engaged, and the price closes them."""

SHARPNESS_START = -3.0
"""Initial logit of the extra sharpness: softplus(-3) ≈ 0.05."""

SCORE_START = 10.0
"""Initial score of a query that a key answers fully; that of chance is about 0."""

ASSOCIATION_SINK_START, ORDER_SINK_START = 4.0, -4.0
"""Initial scores of nothing. Of order heads what is at the place that is asked for scores 0."""

RETENTION_START = 6.0
"""Initial logit of the retention: about 0.25 % fades in a step."""


class RouterState(NamedTuple):
    """write_pointer, read_pointer: float [B, location heads], in slots; in [0, S] on a ring. On
        a loop write pointers are at least 0, and read pointers any number, not wrapped; on a
        stack both are its top, at least 0.
    recent: float [B, 2, D], the last inputs, for the convolution of content heads and of order
        heads.
    recalled: float [B, W − 1, D], the same for the association heads'; None without them.
    place: float [B, order heads], what they read last, any number; None without them.
    """

    write_pointer: jax.Array
    read_pointer: jax.Array
    recent: jax.Array
    recalled: jax.Array | None
    place: jax.Array | None


class Keys(NamedTuple):
    """What association heads write under and ask for: key, query, float [B, T, H, P], their
    product a score; sink: float [B, H], the score of nothing.
    """

    key: jax.Array
    query: jax.Array
    sink: jax.Array


class Order(NamedTuple):
    """What order heads write and ask for: key, float [B, T, H, 1], the rank; query, float
    [B, T, H, 2], place and sharpness; sink: float [B, H], the score of nothing; stored: float
    [B, T, D], what the value is a map of.
    """

    key: jax.Array
    query: jax.Array
    sink: jax.Array
    stored: jax.Array


class Route(NamedTuple):
    """Decisions for every token.

    expert_logits: float [B, T, E]; margins above the price where routing is dynamic.
    write, read: addresses [B, T, H, A] of location and content heads; None without them.
    strength: float [B, T, H] in [0, 1], β of the write; 0 where masked or not written. Of order
        heads 0 or 1, where pointers are rounded: what is half there would have half a place.
    writes, reads: float [B, T, H], 1 where the head writes and reads, else 0.
    write_margins, read_margins: float [B, T, H], above the price; None where routing is fixed.
        The router leaves reads 1 where unmasked and read_margins None, since a read is decided
        by the memory bank, which sees what it would get; it gives its own share in the
        decision, read_logits.
    log_retention: float [B, T, H], log α; 0 (keep) on location heads and where masked.
        None where there are no content heads.
    positions: float [B, T, 2, location heads], write and read pointers, not wrapped on a ring.
    laps: float [B, T, location heads, max_laps + 1], on a loop: 1 where the read pointer has
        come to the start of lap 0, 1, …, else 0. None on a ring.
    associations, order: what such heads write under and ask for; None without them.
    recalled: of association heads and order heads, the slot of each write and the slot that
        weighed most in each read, addresses [B, T, H, 1], to look at. The memory bank tells
        them.
    indecision: float [B, T] ≥ 0, how far what is rounded is from whole, each in [0, 1]: the
        shifts of pointers, whether heads write where that is decided, and whether order heads
        hold a token. The sum of the means over heads of each; 0 where nothing is rounded.
    What a layer lacks is None.
    """

    expert_logits: jax.Array | None
    write: Address | None = None
    read: Address | None = None
    strength: jax.Array | None = None
    log_retention: jax.Array | None = None
    positions: jax.Array | None = None
    laps: jax.Array | None = None
    writes: jax.Array | None = None
    reads: jax.Array | None = None
    read_logits: jax.Array | None = None
    write_margins: jax.Array | None = None
    read_margins: jax.Array | None = None
    associations: Keys | None = None
    order: Order | None = None
    recalled: tuple[Address, Address] | None = None
    indecision: jax.Array | None = None


class Router(nn.Module):
    """Linear decisions from the layer's state.

    Location heads step their pointers by −1, 0 or +1 and choose how sharply to address
    around them, as the γ of Graves et al., 2014, eq. 9. Content heads compare a query with
    S learned keys; the write query sees the last three tokens through a depthwise causal
    convolution, so that a value can be stored under the token before it (as the short
    convolutions of H3, Fu et al., 2023). Association heads compare a query with the keys of
    what was written (core/associations.py). Order heads step as location heads do, through
    what was written in the order of a rank that each token has (core/order.py).

    tape: on a "ring" pointers go round over all S slots. On a "loop" a write pointer moves only
        where it writes and not below 0, and a read pointer that passes the last slot goes on
        at the first (addressing.loop). On a "stack" a head has one pointer, not below 0, and
        reads where it writes, as the tape of Tape-RNN (Delétang et al., 2023).
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
    num_association_heads: int = 0
    num_order_heads: int = 0
    tape: Literal["ring", "loop", "stack"] = "ring"
    max_laps: int = 1

    @property
    def num_heads(self) -> int:
        return (
            self.num_location_heads
            + self.num_content_heads
            + self.num_association_heads
            + self.num_order_heads
        )

    def initial_state(self, batch: int, embedding_dim: int) -> RouterState:
        # An array each, so that a step can be given the memory of its state.
        write, read = (jnp.zeros((batch, self.num_location_heads)) for _ in range(2))
        recent = jnp.zeros((batch, CONVOLUTION_WIDTH - 1, embedding_dim))
        recalled = place = None
        if self.num_association_heads:
            recalled = jnp.zeros((batch, ASSOCIATION_WIDTH - 1, embedding_dim))
        if self.num_order_heads:
            place = jnp.zeros((batch, self.num_order_heads))
        return RouterState(write, read, recent, recalled, place)

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
        """z: [B, T, D], of any float type; decisions are float32 at least, whatever it is.
        mask: bool [B, T]. num_slots: S of the memory in use.

        rounding: of pointer shifts, [] or [B], in [0, 1]; 1 moves pointers by whole slots.
        costs: in logits, of one expert and one head's write; for dynamic gates.
        """
        said, z = self._decisions(z), full(z)
        rounding = jnp.broadcast_to(rounding, mask.shape[:1])[:, None, None]
        expert_logits = said.get("expert")
        if self.num_experts and self.dynamic:
            expert_logits = gating.margin(expert_logits, costs.experts)
        if not self.num_heads:
            return Route(expert_logits), state

        strength = nn.sigmoid(said["strength"]) * mask[..., None]
        writes = reads = jnp.broadcast_to(mask[..., None], strength.shape).astype(z.dtype)
        write_margins = None
        if self.dynamic:
            write_margins = gating.margin(said["write_gate"], costs.writes)
            writes = writes * gating.open_gate(write_margins)
            strength = strength * writes
        gates, held = write_margins, None
        if self.num_order_heads:
            ordered = slice(-self.num_order_heads, None)
            if not self.dynamic:
                gates = said["strength"][..., ordered]
            held = gating.rounded_gate(gates[..., ordered], rounding) * mask[..., None]
            strength = strength.at[..., ordered].set(held)
        addresses, positions, laps, log_retention = [], None, None, None
        if self.num_location_heads:
            pointers = [said[f"{name}_pointer"] for name in POINTER_START[self.tape]]
            address, positions, laps, state = self._location(
                jnp.stack(pointers, axis=2), mask, state, num_slots, rounding, writes
            )
            addresses.append(address)
        if taps := self._stored_taps(z.shape[-1]):
            stored, recent = causal_convolution(z, mask, state.recent, taps)
            state = state._replace(recent=recent)
        if self.num_content_heads:
            address = self._content(stored["content"], said["read_query"])
            addresses.append(address)
            log_retention = self._log_retention(said["retention"], mask)
        write = read = associations = order = None
        if addresses:
            write, read = jax.tree.map(
                lambda *heads: jnp.concatenate(heads, axis=2), *addresses
            )
        if self.num_association_heads:
            associations, state = self._associations(z, mask, state)
        if self.num_order_heads:
            order, state = self._order(
                stored["order"],
                said["rank"],
                said["place_pointer"],
                held,
                mask,
                state,
                rounding,
            )
        route = Route(
            expert_logits,
            write,
            read,
            strength,
            log_retention,
            positions,
            laps,
            writes,
            reads,
            said.get("read_gate"),
            write_margins,
            associations=associations,
            order=order,
            indecision=self._indecision(said, gates, mask),
        )
        return route, state

    def _decisions(self, z):
        """Everything that is linear in z, by name: one product, where one for each would read
        z as often and compute next to nothing."""
        zeros, opening = nn.initializers.zeros, nn.initializers.constant(OPEN_START)
        maps = {}
        if self.num_experts:
            maps["expert"] = (self.num_experts, opening if self.dynamic else None)
        if self.num_heads:
            maps["strength"] = (self.num_heads, zeros)
        if self.num_heads and self.dynamic:
            undecided = (OPEN_START,) * (self.num_heads - self.num_order_heads)
            undecided += (0.0,) * self.num_order_heads
            maps["read_gate"] = (self.num_heads, opening)
            maps["write_gate"] = (self.num_heads, _repeated(undecided))
        if self.num_location_heads:
            for name, shifts in POINTER_START[self.tape].items():
                maps[f"{name}_pointer"] = (
                    4 * self.num_location_heads,
                    _repeated((*shifts, SHARPNESS_START)),
                )
        if self.num_order_heads:
            maps["rank"] = (self.num_order_heads, None)
            maps["place_pointer"] = (
                4 * self.num_order_heads,
                _repeated((*POINTER_START["order"]["place"], SHARPNESS_START)),
            )
        if self.num_content_heads:
            content = self.num_content_heads
            maps["read_query"] = (content * (z.shape[-1] // self.num_heads), None)
            maps["retention"] = (content, nn.initializers.constant(RETENTION_START))
        if not maps:
            return {}
        weights = [Weights(*map_, name=name)(z.shape[-1]) for name, map_ in maps.items()]
        kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*weights, strict=True))
        ends = np.cumsum([count for count, _ in maps.values()])[:-1]
        decided = product(z, kernel) + bias[None, None]
        return dict(zip(maps, jnp.split(decided, ends, axis=-1), strict=True))

    def _location(self, logits, mask, state, num_slots, rounding, writes):
        """logits: [B, T, n, 4 · location heads], of write and read pointers, or of the one that
        is both on a stack."""
        heads = self.num_location_heads
        logits = logits.reshape(*mask.shape, -1, 4)
        shift = rounded(addressing.expected_shift(logits[..., :3]), rounding)
        pointer = jnp.concatenate([state.write_pointer, state.read_pointer], axis=-1)
        shift = shift * mask[..., None]
        laps = None
        if self.tape == "loop":
            position, pointer, laps = self._on_loop(pointer, shift, writes[..., :heads])
        elif self.tape == "stack":
            top = addressing.advance_above(state.write_pointer, shift)
            position, pointer = (jnp.tile(x, 2) for x in (top, top[:, -1]))
            logits = jnp.tile(logits, (1, 1, 2, 1))
        else:
            position, pointer = addressing.advance(pointer, shift, num_slots)
        sharpness = self.sharpness * (1 + nn.softplus(logits[..., 3]))
        address = addressing.ring_address(position, num_slots, self.num_active, sharpness)
        write, read = (
            jax.tree.map(lambda x, own=own: x[:, :, own], address)
            for own in (slice(heads), slice(heads, None))
        )
        state = state._replace(
            write_pointer=pointer[:, :heads], read_pointer=pointer[:, heads:]
        )
        return (write, read), position.reshape(*mask.shape, 2, heads), laps, state

    def _on_loop(self, pointer, shift, writes):
        """pointer: [B, 2 · location heads]; shift: [B, T, 2 · location heads]."""
        write, read = jnp.split(pointer, 2, axis=-1)
        write_shift, read_shift = jnp.split(shift, 2, axis=-1)
        write = addressing.advance_above(write, write_shift * writes)
        read = read[:, None] + jnp.cumsum(read_shift, axis=1)
        pointer = jnp.concatenate([write[:, -1], read[:, -1]], axis=-1)
        slot, distance, lap = addressing.loop(read, write)
        starts = lap[..., None] * jnp.arange(self.max_laps + 1)[None, None, None]
        laps = gating.open_gate(distance[..., None] - starts + 0.5)
        return jnp.concatenate([write, slot], axis=-1), pointer, laps

    def _stored_taps(self, width):
        """What content heads write under is a convolution, and what order heads write. These
        store a token and the one before it, from the start: what says where a thing is to be
        sorted often follows it."""
        taps, shape = {}, (CONVOLUTION_WIDTH, width)
        if self.num_content_heads:
            taps["content"] = self.param("convolution", nn.initializers.normal(0.5), shape)
        if self.num_order_heads:
            taps["order"] = self.param("order_taps", _looking_at(0, 1), shape)
        return taps

    def _content(self, stored, read_query):
        """stored: [B, T, D]; read_query: [B, T, content heads · P]."""
        heads, width = self.num_content_heads, stored.shape[-1] // self.num_heads
        keys = self.param(
            "keys", nn.initializers.normal(width**-0.5), (heads, self.num_slots, width)
        )
        write_query = nn.Dense(heads * width, use_bias=False, name="write_query")(stored)
        addresses = []
        for query in (write_query, read_query):
            query = query.reshape(*stored.shape[:2], heads, width)
            scores = jnp.einsum("bthp,hsp->bths", query, keys)
            best = partial(
                addressing.content_address,
                num_active=self.num_active,
                temperature=self.temperature,
            )
            addresses.append(by_sequence(best, scores))
        return tuple(addresses)

    def _associations(self, z, mask, state):
        """Keys and queries are one map of two views of the last tokens, so that from the start
        a token is answered by what stood behind it before: a key starts with the token before
        its own, a query with its own, and both learn what else to look at. Of unit length,
        with a sharpness (Graves et al., 2014, eq. 5)."""
        heads, width = self.num_association_heads, z.shape[-1] // self.num_heads
        project = nn.Dense(heads * width, use_bias=False, name="association_key")

        def unit(seen):
            said = project(seen).reshape(*mask.shape, heads, width)
            return said * jax.lax.rsqrt(jnp.sum(said**2, axis=-1, keepdims=True) + 1e-6)

        shape = (ASSOCIATION_WIDTH, z.shape[-1])
        views = {
            "key": self.param("key_taps", _looking_at(1), shape),
            "query": self.param("query_taps", _looking_at(0), shape),
        }
        seen, recalled = causal_convolution(z, mask, state.recalled, views)

        sharpness = self.param(
            "association_sharpness", nn.initializers.constant(SCORE_START), (heads,)
        )
        nothing = nn.initializers.constant(ASSOCIATION_SINK_START)
        sink = self.param("association_sink", nothing, (heads,))
        key, query = unit(seen["key"]), unit(seen["query"]) * sharpness[None, None, :, None]
        sink = jnp.broadcast_to(sink, (len(z), heads))
        return Keys(key, query, sink), state._replace(recalled=recalled)

    def _order(self, stored, rank, pointer, held, mask, state, rounding):
        """The pointer rests where something is put in: a queue takes or gives.

        stored: [B, T, D]; rank, held: [B, T, order heads]; pointer: [B, T, 4 · order heads],
        logits.
        """
        heads = self.num_order_heads
        logits = pointer.reshape(*mask.shape, heads, 4)
        shift = rounded(addressing.expected_shift(logits[..., :3]), rounding)
        shift = shift * (1 - held) * mask[..., None]
        place = state.place[:, None] + jnp.cumsum(shift, axis=1)
        sharpness = self.sharpness * (1 + nn.softplus(logits[..., 3]))
        nothing = nn.initializers.constant(ORDER_SINK_START)
        sink = self.param("order_sink", nothing, (heads,))
        order = Order(
            rank[..., None],
            jnp.stack([place, sharpness], axis=-1),
            jnp.broadcast_to(sink, (len(mask), heads)),
            stored,
        )
        return order, state._replace(place=place[:, -1])

    def _indecision(self, said, gates, mask):
        pointers = [said[name] for name in said if name.endswith("_pointer")]
        logits = [pointer.reshape(*mask.shape, -1, 4)[..., :3] for pointer in pointers]
        numbers = [addressing.expected_shift(three) for three in logits]
        if gates is not None:
            numbers.append(nn.sigmoid(gates))
        zero = jnp.zeros(mask.shape)
        return sum((jnp.mean(indecision(each), axis=-1) for each in numbers), start=zero)

    def _log_retention(self, logits, mask):
        held = jnp.zeros((*mask.shape, self.num_location_heads))
        return jnp.concatenate([held, nn.log_sigmoid(logits) * mask[..., None]], axis=-1)


class Weights(nn.Module):
    """Kernel [D, n] and bias [n] of a linear map to n numbers, as nn.Dense makes and names
    them; a bias of zeros that is no parameter where `bias_start` is None."""

    count: int
    bias_start: nn.initializers.Initializer | None

    @nn.compact
    def __call__(self, width: int) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.linear.default_kernel_init, (width, self.count))
        if self.bias_start is None:
            return kernel, jnp.zeros(self.count)
        return kernel, self.param("bias", self.bias_start, (self.count,))


def _repeated(numbers):
    """An initializer that repeats `numbers` over a vector."""
    return lambda key, shape, dtype=jnp.float32: jnp.resize(jnp.array(numbers, dtype), shape)


def _looking_at(*lags):
    """An initializer of a convolution's taps, [W, D], with its oldest token first: it sees the
    tokens so many steps back, and some noise."""

    def start(key, shape, dtype=jnp.float32):
        noise = 0.1 * jax.random.normal(key, shape, dtype)
        return noise.at[-1 - np.array(lags)].add(1.0)

    return start
