"""Pointers: how far a token moves them, and the heads that address slots by them.

Axes: B batch, T time, H heads, S slots, A active slots per access, P value width, n pointers.

A pointer has four logits for every token: of the shifts −1, 0 and +1, as in the Neural Turing
Machine (Graves et al., 2014, eq. 8), and of its sharpness (the γ of eq. 9). Its position, not a
distribution over slots, is the state, so that pointers are parallel over time and independent
of the number of slots. Kinds of heads differ in topology: what a shift does to a position.
"""

from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import addressing
from mocanet_jax.core.memory import Accesses, MemoryState, initial_memory
from mocanet_jax.core.straight_through import hard_round, quantisation_penalty
from mocanet_jax.nn.heads.base import Head, HeadOutput, Trace, run_slots
from mocanet_jax.nn.parameters import declared
from mocanet_jax.nn.projections import Projection, Projections, repeated

LOGITS = 4
SHARPNESS = -3.0
"""Initial logit of the extra sharpness: softplus(-3) ≈ 0.05."""


class Steps(NamedTuple):
    """shift: float [B, T, n] in [−1, 1] slots, 0 where masked. sharpness: float [B, T, n] > 0.
    penalty: quantisation penalty of the shifts, float [B, T], a mean over n."""

    shift: jax.Array
    sharpness: jax.Array
    penalty: jax.Array


def steps(logits: jax.Array, mask: jax.Array, hardness: jax.Array, sharpness: float) -> Steps:
    """What tokens do to pointers.

    logits: float [B, T, 4n]. mask: bool [B, T]. hardness: [B, 1, 1] in [0, 1]; 1 shifts by
    whole slots. sharpness: κ of the softest address, below which none goes, since reading the
    mean of the neighbours would be a trap; > 0."""
    logits = logits.reshape(*mask.shape, -1, LOGITS)
    mean = addressing.expected_shift(logits[..., :3])
    penalty = jnp.mean(quantisation_penalty(mean), axis=-1)
    shift = hard_round(mean, hardness) * mask[..., None]
    return Steps(shift, sharpness * (1 + nn.softplus(logits[..., 3])), penalty)


def pointer_projection(count: int, start: tuple[float, ...]) -> Projection:
    """Logits of `count` pointers. start: the three initial shift logits.

    The kernel starts at 0, so that every token moves a pointer alike. The slope of a shift is
    that of a softmax: with random kernels it is many times as steep for some tokens as for
    others, and a search follows whichever tokens the seed has favoured. On copy it then
    learned, in about one seed of seven, to read whatever was written last.
    """
    return Projection(LOGITS * count, repeated((*start, SHARPNESS)), nn.initializers.zeros)


class PointerState(NamedTuple):
    """write, read: float [B, H], pointers behind the last token, in slots. memory: the
    slots."""

    write: jax.Array
    read: jax.Array
    memory: MemoryState


class Trajectory(NamedTuple):
    """write, read: float [B, T, H], positions of the pointers at each token, in slots.
    last: the state's write and read pointers behind the last token, float [B, H].
    residual: as of HeadOutput."""

    write: jax.Array
    read: jax.Array
    last: tuple[jax.Array, jax.Array]
    residual: jax.Array | None = None


class PointerHead(Head):
    """Heads that address slots by pointers.

    All slots start from one learned row per head, since nothing here may depend on S.

    Attributes:
        sharpness: κ of the softest address, > 0; it starts there, so that the gradient feels
            the next slot
    """

    sharpness: float = 1.0

    starts: ClassVar[dict[str, tuple[float, float, float]]]
    """Pointers by name, with the initial logits of their shifts −1, 0 and +1."""

    def __post_init__(self):
        if not self.sharpness > 0:
            raise ValueError(f"sharpness must be above 0, not {self.sharpness}")
        super().__post_init__()

    def setup(self):
        shape = (self.count, 1, self.sizes.value_width)
        start = nn.initializers.normal(0.02)
        self.start_row = declared(self, "start_row", start, shape, decay=False)

    def projections(self) -> Projections:
        pointers = {
            f"{name}_pointer": pointer_projection(self.count, start)
            for name, start in self.starts.items()
        }
        return {"value": self._value(), "strength": self._strength(), **pointers}

    def initial_state(self, batch: int, num_slots: int) -> PointerState:
        slots = jnp.repeat(self.start_row, num_slots, axis=1)
        slots = jnp.broadcast_to(slots, (batch, *slots.shape))
        write, read = (jnp.zeros((batch, self.count)) for _ in range(2))
        return PointerState(write, read, initial_memory(slots, retention=False))

    def advance(self, shift, state, opened, num_slots) -> Trajectory:
        """Moves the pointers.

        shift: float [B, T, n, H], of the pointers of `starts` in their order. state:
        PointerState. opened: float [B, T, H], 1 where the head writes, else 0. num_slots: S of
        the memory in use.
        """
        raise NotImplementedError

    def __call__(self, z, projected, write_gate, mask, state, hardness) -> HeadOutput:
        logits = [projected[f"{name}_pointer"] for name in self.starts]
        moved = steps(jnp.concatenate(logits, axis=-1), mask, hardness, self.sharpness)
        by_pointer = lambda x: x.reshape(*mask.shape, len(self.starts), self.count)
        num_slots = state.memory.slots.shape[2]
        at = self.advance(by_pointer(moved.shift), state, write_gate.open, num_slots)
        sharpness = by_pointer(moved.sharpness)
        write, read = (
            addressing.ring_address(
                position, num_slots, self.sizes.active_slots, sharpness[:, :, n]
            )
            for position, n in ((at.write, 0), (at.read, -1))
        )
        strength = nn.sigmoid(projected["strength"]) * write_gate.open
        value = self._by_head(projected["value"])
        found, slots = run_slots(
            self.sizes,
            state.memory,
            Accesses(write, read, value, strength),
            write_gate.may_read,
        )
        return HeadOutput(
            found,
            PointerState(*at.last, slots),
            Trace(write, read, strength, at.write, at.read),
            moved.penalty,
            at.residual,
        )

    def flops(self) -> float:
        return self._lookup_flops()
