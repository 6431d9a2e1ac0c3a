"""Modular arithmetic: the value of an expression without brackets, modulo 5.

    input   1 + 2 * 3 - 4 M ·
    target  · · · · · · · · 3        1 + 6 - 4 = 3

Digits 0 to 4 with +, - and * between them, uniform; products come before sums. A regular
language. (Modular Arithmetic (Simple) of Delétang et al., 2023, who score the answer at a
blank directly after the expression; here a marker comes between. An expression has an
odd number of symbols: as there, an even L counts for the odd number below it.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.transduction import TransductionTask

MODULUS = 5
PLUS, MINUS, TIMES = 5, 6, 7


class ModularArithmeticTask(TransductionTask):
    """Lengths are numbers of digits and signs, L. Symbols: digits 0 to 4, then the signs."""

    num_symbols: ClassVar[int] = 8
    names: ClassVar[dict[int, str]] = {PLUS: "+", MINUS: "−", TIMES: "×"}

    def input_length(self, length):
        return length - 1 + length % 2

    def answer_length(self, length):
        return 1

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], a digit at even places, counting from 0, and a sign at odd ones."""
        digit_key, sign_key = jax.random.split(key)
        shape = len(length), self.input_length(fit)
        digits = jax.random.randint(digit_key, shape, 0, MODULUS)
        signs = jax.random.randint(sign_key, shape, PLUS, TIMES + 1)
        return jnp.where(jnp.arange(shape[1])[None] % 2 == 0, digits, signs)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, 1], a digit."""
        digits, signs = jnp.maximum(symbols[:, ::2], 0), symbols[:, 1::2]

        def sign_and_digit(carry, now):
            """The sum of finished terms and the term that may still be multiplied; beyond the
            end 0 is added."""
            (total, term), (sign, digit) = carry, now
            times = sign == TIMES
            total = jnp.where(times, total, total + term)
            term = jnp.where(times, term * digit, jnp.where(sign == MINUS, -digit, digit))
            return (total % MODULUS, term % MODULUS), None

        start = jnp.zeros_like(digits[:, 0]), digits[:, 0]
        (total, term), _ = jax.lax.scan(sign_and_digit, start, (signs.T, digits[:, 1:].T))
        return (total + term)[:, None] % MODULUS
