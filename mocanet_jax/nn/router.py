"""The token router: per token, which experts compute and which slots are written and read.

Axes: B batch, T time, D width, H memory heads (by location first, then by content, by
association, by order), S slots, A active slots per access, E experts.
"""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core import addressing, gating
from mocanet_jax.core.budget import Prices
from mocanet_jax.core.convolution import causal_convolution
from mocanet_jax.core.precision import full, product
from mocanet_jax.core.rounding import indecision
from mocanet_jax.nn import pointers
from mocanet_jax.nn.partition import by_sequence
from mocanet_jax.nn.route import Keys, Order, Route, RouterState

CONVOLUTION_WIDTH = 3
ASSOCIATION_WIDTH = 8
"""Tokens that a convolution of content heads and of association heads sees."""

OPEN_START = 2.0
"""Initial logit of dynamic gates: all parts start engaged, and the price closes them."""

SCORE_START = 10.0
"""Initial score of a query that a key answers fully; that of chance is about 0."""

ASSOCIATION_SINK_START, ORDER_SINK_START = 4.0, -4.0
"""Initial scores of nothing. Of order heads what is at the place that is asked for scores 0."""

RETENTION_START = 6.0
"""Initial logit of the retention: about 0.25 % fades in a step."""


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
        at the first. On a "stack" a head has one pointer, which reads where it writes.
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
            address, at, state = self._location(said, mask, state, num_slots, rounding, writes)
            addresses.append(address)
            both = (*mask.shape, 2, self.num_location_heads)
            positions, laps = jnp.broadcast_to(at.positions, both), at.laps
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
            for name, start in pointers.START[self.tape].items():
                maps[f"{name}_pointer"] = (
                    pointers.LOGITS * self.num_location_heads,
                    _repeated(start),
                )
        if self.num_order_heads:
            maps["rank"] = (self.num_order_heads, None)
            maps["place_pointer"] = (
                pointers.LOGITS * self.num_order_heads,
                _repeated(pointers.START["order"]["place"]),
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

    def _location(self, said, mask, state, num_slots, rounding, writes):
        heads = self.num_location_heads
        names = pointers.START[self.tape]
        logits = jnp.concatenate([said[f"{name}_pointer"] for name in names], axis=-1)
        shift, sharpness = pointers.steps(logits, mask, rounding, self.sharpness)
        before = state.write_pointer, state.read_pointer
        at = pointers.walk(
            self.tape, shift, before, writes[..., :heads], num_slots, self.max_laps
        )
        sharpness = sharpness.reshape(at.positions.shape)
        address = addressing.ring_address(at.positions, num_slots, self.num_active, sharpness)
        write, read = (jax.tree.map(lambda x, n=n: x[:, :, n], address) for n in (0, -1))
        state = state._replace(write_pointer=at.write, read_pointer=at.read)
        return (write, read), at, state

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
        shift, sharpness = pointers.steps(pointer, mask, rounding, self.sharpness)
        place = state.place[:, None] + jnp.cumsum(shift * (1 - held), axis=1)
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
        numbers = [
            pointers.mean_shift(said[name], mask) for name in said if name.endswith("_pointer")
        ]
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
