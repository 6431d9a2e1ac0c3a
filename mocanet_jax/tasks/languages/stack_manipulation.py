"""Stack manipulation: carry out pushes and pops on a given stack, then recite it.

    input   0 1 1 pop push0 M · · · ·
    target  · · ·  ·    ·   · 0 1 0 E        0 1 1  ->  0 1  ->  0 1 0, recited from the top

L symbols: a stack of bits from bottom to top, of a height uniform on [1, L - 1] (1 for L = 1),
then actions, uniform among pop, push 0 and push 1. A pop of an empty stack does nothing. The
answer is the stack from top to bottom and an end symbol. A deterministic context-free task.
(Stack Manipulation of Delétang et al., 2023, whose blanks follow the input at once and go on
to L + 1, though like here only those up to the end symbol count; there the end symbol and pop
are one word.)

Axes: B batch, N symbols of the longest input, A = N + 1 symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask, symbols_at

POP, PUSH_0, PUSH_1, END = range(2, 6)


class StackManipulationTask(TransductionTask):
    """Lengths are numbers of bits and actions, L. Symbols: 0, 1, POP, PUSH_0, PUSH_1, END."""

    num_symbols: ClassVar[int] = 6
    names: ClassVar[dict[int, str]] = {POP: "pop", PUSH_0: "+0", PUSH_1: "+1", END: "E"}

    def answer_length(self, length):
        return length + 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], bits and then actions."""
        shape, (height_key, bit_key, action_key) = (len(length), fit), jax.random.split(key, 3)
        height = jax.random.randint(height_key, length.shape, 1, jnp.maximum(length, 2))
        bits = jax.random.randint(bit_key, shape, 0, 2)
        actions = jax.random.randint(action_key, shape, POP, PUSH_1 + 1)
        return jnp.where(jnp.arange(fit)[None] < height, bits, actions)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], bits from the top, then END."""
        place = jnp.arange(symbols.shape[1] + 1)[None]

        def act(carry, symbol):
            stack, height = carry  # [B, N], [B, 1]
            pushes = (symbol != POP) & (symbol != NOTHING)
            bit = symbol % PUSH_0  # of a bit itself, and of its push
            stack = jnp.where(pushes & (place[:, :-1] == height), bit, stack)
            height = jnp.where(symbol == POP, jnp.maximum(height - 1, 0), height + pushes)
            return (stack, height), None

        start = jnp.zeros_like(symbols), jnp.zeros_like(length)
        (stack, height), _ = jax.lax.scan(act, start, symbols.T[..., None])
        return jnp.where(place == height, END, symbols_at(stack, height - 1 - place))
