"""Binary addition: the sum of two numbers, lowest digit first.

    input   1 0 1 + 1 1 M · · · ·
    target  · · · · · · · 0 0 0 1 E        5 + 3 = 8

L symbols: two binary numbers and a plus between them. The first has from 1 to L - 2 digits,
uniform, and digits are uniform; zeros at a number's end, where it is highest, are allowed. The
answer is the sum without such zeros (0 is one digit), and an end symbol. A context-sensitive
task. (Binary Addition of Delétang et al., 2023, whose blanks follow the input at once and go
on to L + 1, though like here only those up to the end symbol count; there end and plus are
one word, and no number is 0. Of L = 2 here only a digit and the plus are left, of L = 1 only
the digit.)

Axes: B batch, N symbols of the longest input, A = N + 1 symbols of the longest answer.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import NOTHING, TransductionTask, symbols_at

PLUS, END = 2, 3


class BinaryAdditionTask(TransductionTask):
    """Lengths are numbers of digits and plus, L. Symbols: 0, 1, PLUS, END."""

    num_symbols: ClassVar[int] = 4
    names: ClassVar[dict[int, str]] = {PLUS: "+", END: "E"}

    def answer_length(self, length):
        return length + 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], digits with one PLUS between them."""
        digit_key, plus_key = jax.random.split(key)
        digits = jax.random.randint(digit_key, (len(length), fit), 0, 2)
        plus = jax.random.randint(plus_key, length.shape, 1, jnp.maximum(length - 1, 2))
        return jnp.where(jnp.arange(fit)[None] == plus, PLUS, digits)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, A], digits, then END."""
        place = jnp.arange(symbols.shape[1] + 1)[None]
        is_digit = (symbols == 0) | (symbols == 1)
        is_first = is_digit & (jnp.cumsum(symbols == PLUS, axis=1) == 0)
        first = jnp.sum(is_first, axis=1, keepdims=True)  # digits of the first number
        digit = lambda where: jnp.maximum(symbols_at(symbols, where), 0)
        both = digit(jnp.where(place < first, place, NOTHING)) + digit(first + 1 + place)

        def add(carry, column):
            return (carry + column) // 2, (carry + column) % 2

        _, total = jax.lax.scan(add, jnp.zeros_like(both[:, 0]), both.T)
        total = total.T
        highest = jnp.max(jnp.where(total == 1, place, 0), axis=1, keepdims=True)
        end = jnp.where(place == highest + 1, END, NOTHING)
        return jnp.where(place <= highest, total, end)
