"""Pointers: how far a token moves them, and where that takes them on each kind of tape.

Axes: B batch, T time, L location heads, n pointers.

A pointer has four logits for every token: of the shifts −1, 0 and +1, and of its sharpness.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import addressing, gating
from mocanet_jax.core.rounding import rounded

LOGITS = 4
SHARPNESS = -3.0
"""Initial logit of the extra sharpness: softplus(-3) ≈ 0.05."""

START = {
    "ring": {"write": (-4.0, -2.0, 4.0, SHARPNESS), "read": (-2.0, 4.0, -2.0, SHARPNESS)},
    "loop": {"write": (-4.0, -2.0, 4.0, SHARPNESS), "read": (0.0, 0.0, 1.0, SHARPNESS)},
    "stack": {"top": (-1.0, -1.0, 2.0, SHARPNESS)},
    "order": {"place": (0.0, 0.0, 1.0, SHARPNESS)},
}
"""The pointers of a head and their initial logits: write pointers move, and read pointers rest
on a ring. With both starting at half a step, training sticks at a bag of tokens in the first
slot. On a loop reads start undecided, since it is left to learn whether they go forwards or
back. On a stack a token starts as a push, and can still become a pop."""


class Walk(NamedTuple):
    """positions: float [B, T, n, L], in slots: of writes and of reads, n = 2, or of the one
    pointer that is both, n = 1. write, read: float [B, L], the pointers behind the last token.
    laps: of Route; None but on a loop."""

    positions: jax.Array
    write: jax.Array
    read: jax.Array
    laps: jax.Array | None


def mean_shift(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """logits: [B, T, 4n]; mask: [B, T]. Returns float [B, T, n], in [−1, 1] slots."""
    return addressing.expected_shift(logits.reshape(*mask.shape, -1, LOGITS)[..., :3])


def steps(
    logits: jax.Array, mask: jax.Array, rounding: jax.Array, sharpness: float
) -> tuple[jax.Array, jax.Array]:
    """Shifts, 0 where masked, and the sharpness of addresses, at least `sharpness`: float
    [B, T, n] each.

    logits: [B, T, 4n]. rounding: [B, 1, 1], in [0, 1]; 1 for whole slots.
    """
    shift = rounded(mean_shift(logits, mask), rounding) * mask[..., None]
    extra = logits.reshape(*mask.shape, -1, LOGITS)[..., 3]
    return shift, sharpness * (1 + nn.softplus(extra))


def walk(
    tape: str,
    shift: jax.Array,
    before: tuple[jax.Array, jax.Array],
    writes: jax.Array,
    num_slots: int,
    max_laps: int,
) -> Walk:
    """Moves the pointers of location heads.

    tape: "ring", "loop" or "stack" (Router). shift: [B, T, 2L], of write and read pointers, or
        [B, T, L] on a stack. before: write and read pointers, [B, L]. writes: [B, T, L], 1
        where the head writes, else 0.
    """
    if tape == "stack":
        return _on_stack(shift, before)
    write, read = jnp.split(shift, 2, axis=-1)
    if tape == "loop":
        return _on_loop(write * writes, read, before, max_laps)
    written, last_write = addressing.advance(before[0], write, num_slots)
    found, last_read = addressing.advance(before[1], read, num_slots)
    return Walk(jnp.stack([written, found], axis=2), last_write, last_read, None)


def _on_stack(shift, before):
    """One pointer, not below 0, that reads where it writes: the tape of Tape-RNN (Delétang et
    al., 2023, "Neural networks and the Chomsky hierarchy"), by whole steps."""
    top = addressing.advance_above(before[0], shift)
    return Walk(top[:, :, None], top[:, -1], top[:, -1], None)


def _on_loop(write, read, before, max_laps):
    """Reads go round over what was written (addressing.loop), and tell how often."""
    written = addressing.advance_above(before[0], write)
    found = before[1][:, None] + jnp.cumsum(read, axis=1)
    slot, distance, lap = addressing.loop(found, written)
    starts = lap[..., None] * jnp.arange(max_laps + 1)[None, None, None]
    laps = gating.open_gate(distance[..., None] - starts + 0.5)
    positions = jnp.stack([written, slot], axis=2)
    return Walk(positions, written[:, -1], found[:, -1], laps)
