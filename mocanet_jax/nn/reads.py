"""Gates of reads, and the projection of what is read, for the tokens that may read alone.

Axes: B batch, T time, D width, H memory heads, P value width of a head, M tokens of a sequence
that there is room for.

Whether a read opens depends on how much it finds, but only so far: what cannot open at all is
known before. In evaluation the others are gathered into room for M tokens of each sequence,
gated and projected there, and put back; where there are none, nothing is computed, and where
some sequence has more, all tokens are. The results are the same.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mocanet_jax.core import gating
from mocanet_jax.core.dispatch import has_room
from mocanet_jax.core.rows import in_front, taken
from mocanet_jax.core.straight_through import hard_gate

ROOM = 1.125
"""M, as a multiple of the tokens that the budget can let write and read."""


class Reads(NamedTuple):
    """open: float [B, T, H], 1 where a head reads, else 0. margins: float [B, T, H], logits
    above the threshold. y: [B, T, D], what was read, projected."""

    open: jax.Array
    margins: jax.Array
    y: jax.Array


class Reader(NamedTuple):
    """fill: float [H], weight of how much was found. kernel: [H·P, D], of the type of y.
    threshold: of one head's read, in logits."""

    fill: jax.Array
    kernel: jax.Array
    threshold: jax.Array | float

    def may_read(self, logits: jax.Array, mask: jax.Array) -> jax.Array:
        """Reads that could open: how much is found moves their logits by no more than the
        weight. logits: float [B, T, H]. mask: bool [B, T]. Returns bool [B, T, H]."""
        most = logits + jnp.abs(self.fill)[None, None]
        return (gating.margin(most, self.threshold) > 0) & mask[..., None]

    def margins(self, logits: jax.Array, fill: jax.Array | float) -> jax.Array:
        """fill: of what was found (core/gating.py), float [B, T, H]."""
        return gating.margin(logits + self.fill[None, None] * (2 * fill - 1), self.threshold)

    def everywhere(self, found: jax.Array, logits: jax.Array, mask: jax.Array) -> Reads:
        """found: float [B, T, H, P]. logits: float [B, T, H], without what was found.
        mask: bool [B, T]."""
        margins = self.margins(logits, gating.fill(found))
        read = gating.engaged(found * mask[..., None, None], margins[..., None])
        return Reads(
            hard_gate(margins) * mask[..., None], margins, projected(read, self.kernel)
        )

    def of_few(
        self, found: jax.Array, logits: jax.Array, may_read: jax.Array, room: int
    ) -> Reads:
        """As `everywhere`, for reads that may_read, bool [B, T, H], lets open; the others find
        nothing, and their margins say so. room: M."""
        batch, length, _ = logits.shape
        found = jnp.where(may_read[..., None], found, 0.0)
        token = jnp.any(may_read, axis=-1)
        blank = self.margins(logits, 0.0)

        def in_room():
            at, _ = in_front(token, room)
            few = jax.tree.map(lambda x: taken(x, jnp.minimum(at, length - 1)), (found, logits))
            few = self.everywhere(*few, at < length)
            none = Reads(jnp.zeros_like(blank), blank, empty)
            put = jax.vmap(lambda rows, at, new: rows.at[at].set(new, mode="drop"))
            return jax.tree.map(lambda rows, new: put(rows, at, new), none, few)

        def some():
            if room == length:
                return all_tokens()
            fits = has_room(jnp.sum(jnp.sum(token, axis=1) > room))
            return jax.lax.cond(fits, in_room, all_tokens)

        all_tokens = lambda: self.everywhere(found, logits, token)
        empty = jnp.zeros((batch, length, self.kernel.shape[1]), self.kernel.dtype)
        none = lambda: Reads(jnp.zeros_like(blank), blank, empty)
        return jax.lax.cond(has_room(jnp.sum(token)), none, some)


def room_for(length: int, share: float) -> int:
    """M of T tokens, of which the budget lets a share in [0, 1] write and read."""
    return max(1, min(length, math.ceil(ROOM * share * length)))


def projected(read: jax.Array, kernel: jax.Array) -> jax.Array:
    """What was read, [B, T, H, P], to [B, T, D]."""
    read = read.reshape(*read.shape[:2], -1)
    return jnp.matmul(read.astype(kernel.dtype), kernel)
