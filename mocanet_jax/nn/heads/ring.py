"""Ring heads: pointers that go round all slots.

Axes: B batch, T time, H heads, S slots.
"""

from typing import ClassVar

from mocanet_jax.core import addressing
from mocanet_jax.nn.heads.pointers import PointerHead, Trajectory


class Ring(PointerHead):
    """A write pointer and a read pointer on a ring of S slots.

    Write pointers start moving and read pointers resting: with both at half a step, training
    sticks at a bag of tokens in the first slot.
    """

    starts: ClassVar = {"write": (-4.0, -2.0, 4.0), "read": (-2.0, 4.0, -2.0)}

    def advance(self, shift, state, opened, num_slots) -> Trajectory:
        write, last_write = addressing.advance(state.write, shift[:, :, 0], num_slots)
        read, last_read = addressing.advance(state.read, shift[:, :, 1], num_slots)
        return Trajectory(write, read, (last_write, last_read))
