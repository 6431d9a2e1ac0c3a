"""Rows of numbers in 8 or 4 bits each, with a scale a row.

    s = max |x| / m,    c = round(x / s),    x' = s c,    m = 127 of 8 bits, 7 of 4

by the largest magnitude of a row, symmetric (vector-wise quantisation: Dettmers et al., 2022,
"LLM.int8()"). A scale has 16 bits, so that P numbers take P + 2 or ⌈P/2⌉ + 2 bytes, where
float32 takes 4 P, and |x' − x| ≤ s/2 + m 2⁻²⁵; rows of magnitudes beyond 65,504 m are cut.
What was rounded once is not changed by rounding it again.

Rows are kept as what they were first kept as: functions take an array as well as a Narrow, and
leave the numbers of an array alone.

Axes: P width of a row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LARGEST = {8: 127, 4: 7}
"""m, by bits a number."""

BITS = (32, *LARGEST)
"""That numbers can be kept in; 32 is an array as it is."""

_LARGEST_SCALE = float(jnp.finfo(jnp.float16).max)


class Narrow(NamedTuple):
    """codes: int8 [..., P], c; of 4 bits uint8 [..., ⌈P/2⌉], c + 8, two in each, the first in
    its lower half. scales: float16 [...], s."""

    codes: jax.Array
    scales: jax.Array

    @property
    def bits(self) -> int:
        return 8 if self.codes.dtype == jnp.int8 else 4


Rows = jax.Array | Narrow
"""Float [..., P], or the same in fewer bytes."""


def check_bits(bits: int) -> None:
    """Raises ValueError for others than BITS."""
    if bits not in BITS:
        raise ValueError(f"slot_bits must be one of {', '.join(map(str, BITS))}, not {bits}")


def no_rows(shape: tuple[int, ...], bits: int) -> Rows:
    """Zeros, of shape [..., P]. bits: of BITS."""
    if bits == 32:
        return jnp.zeros(shape)
    # Not `narrowed` of zeros, which the compiler would work out, slowly.
    *rows, width = shape
    if bits == 8:
        codes = jnp.zeros(shape, jnp.int8)
    else:
        codes = jnp.full((*rows, -(-width // 2)), 8 | 8 << 4, jnp.uint8)
    return Narrow(codes, jnp.zeros(rows, jnp.float16))


def narrowed(rows: jax.Array, bits: int) -> Narrow:
    """rows: float [..., P]. bits: 8 or 4."""
    largest = LARGEST[bits]
    scale = jnp.max(jnp.abs(rows), axis=-1) / largest
    scales = jnp.minimum(scale, _LARGEST_SCALE).astype(jnp.float16)
    divisor = scales.astype(rows.dtype)[..., None]
    codes = jnp.round(rows / jnp.where(divisor == 0, 1, divisor))
    codes = jnp.clip(codes, -largest, largest).astype(jnp.int8)
    return Narrow(codes if bits == 8 else _packed(codes), scales)


def widened(rows: Rows, width: int) -> jax.Array:
    """Float [..., P]. width: P."""
    if not isinstance(rows, Narrow):
        return rows
    codes = rows.codes if rows.bits == 8 else _unpacked(rows.codes)[..., :width]
    return codes.astype(jnp.float32) * rows.scales.astype(jnp.float32)[..., None]


def kept_as(rows: jax.Array, like: Rows) -> Rows:
    """rows: float [..., P], as they are to be kept beside `like`."""
    return narrowed(rows, like.bits) if isinstance(like, Narrow) else rows


def as_found(rows: jax.Array, kept: Rows) -> jax.Array:
    """What will be found where rows were kept as `kept`, with the gradient of the rows
    (straight-through)."""
    if not isinstance(kept, Narrow):
        return rows
    return rows + jax.lax.stop_gradient(widened(kept, rows.shape[-1]) - rows)


def _packed(codes):
    """int8 [..., P] in −7 … 7 → uint8 [..., ⌈P/2⌉]."""
    odd = codes.shape[-1] % 2
    codes = jnp.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, odd)])
    low, high = (((codes[..., i::2] + 8).astype(jnp.uint8)) for i in (0, 1))
    return low | (high << 4)


def _unpacked(packed):
    """uint8 [..., n] → int8 [..., 2 n]."""
    pairs = jnp.stack([packed & 15, packed >> 4], axis=-1)
    codes = pairs.astype(jnp.int8) - 8
    return codes.reshape(*packed.shape[:-1], -1)
