"""Stack heads: one pointer that writes and reads.

Axes: B batch, T time, H heads.
"""

from typing import ClassVar

from mocanet_jax.core import addressing
from mocanet_jax.nn.heads.pointers import PointerHead, Trajectory


class Stack(PointerHead):
    """One pointer, not below 0, that reads where it writes: the tape of Tape-RNN (Delétang et
    al., 2023, "Neural networks and the Chomsky hierarchy"), by whole steps.

    A token starts as a push, and can still become a pop.
    """

    starts: ClassVar = {"top": (-1.0, -1.0, 2.0)}

    def advance(self, shift, state, opened, num_slots) -> Trajectory:
        top = addressing.advance_above(state.write, shift[:, :, 0])
        # Two arrays of equal numbers, so that a step can reuse the memory of either.
        return Trajectory(top, top, (top[:, -1], 1.0 * top[:, -1]))
