"""What the router decides for every token, and what it carries from token to token.

Axes: B batch, T time, D width, H memory heads (by location first, then by content, by
association, by order), A active slots per access, E experts, P width of a head, W tokens that
a convolution sees.
"""

from typing import NamedTuple

import jax

from mocanet_jax.core.addressing import Address


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
        come to the start of lap 0, 1, …, else 0. None on other tapes.
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
