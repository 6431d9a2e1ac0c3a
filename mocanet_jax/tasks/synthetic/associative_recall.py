"""Associative recall: a list of items, one of them again; produce the item that followed it.

    input   ; 5 9 3 ; 7 7 1 ; 2 9 9 ? 7 7 1 M · · ·
    target  · · · · · · · · · · · · · · · · · 2 9 9

A list of L items of 3 symbols, each after a delimiter, then a query: its own delimiter and one
of the first L - 1 items, uniform. Items differ from each other; apart from that their symbols
are uniform and independent. (The associative recall task of Graves et al., 2014, with 64
symbols for vectors of 6 bits; a marker closes the query. A list of one item is queried for
itself.)

Axes: B batch, N symbols of the longest input.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.distinct import distinct
from mocanet_jax.tasks.languages.transduction import TransductionTask, symbols_at

NUM_WORDS, ITEM = 64, 3
"""Symbols that items are made of, and how many make an item."""
DELIMITER, QUERY = 64, 65
PITCH = 1 + ITEM
"""From the delimiter of one item to that of the next."""


class AssociativeRecallTask(TransductionTask):
    """Lengths are numbers of items, L. Symbols: 64 for items, then DELIMITER, QUERY."""

    num_symbols: ClassVar[int] = NUM_WORDS + 2
    names: ClassVar[dict[int, str]] = {DELIMITER: ";", QUERY: "?"}

    def input_length(self, length):
        return PITCH * (length + 1)

    def answer_length(self, length):
        return ITEM

    def draw(self, key: jax.Array, length: jax.Array, fit: int) -> jax.Array:
        """int32 [B, N], the list and the query."""
        batch, (item_key, query_key) = len(length), jax.random.split(key)
        codes = distinct(item_key, batch, fit, NUM_WORDS**ITEM)[..., None]
        words = codes // NUM_WORDS ** jnp.arange(ITEM)[None, None] % NUM_WORDS
        listed = jnp.pad(words, ((0, 0), (0, 0), (1, 0)), constant_values=DELIMITER)
        queried = jax.random.randint(query_key, length.shape, 0, jnp.maximum(length - 1, 1))
        place, query = jnp.arange(self.input_length(fit))[None], PITCH * length
        source = jnp.where(place < query, place, place - query + PITCH * queried)
        symbols = symbols_at(listed.reshape(batch, -1), source)
        return jnp.where(place == query, QUERY, symbols)

    def answer(self, symbols: jax.Array, length: jax.Array) -> jax.Array:
        """int32 [B, ITEM], the item after the one that is queried."""
        inside = jnp.arange(1, PITCH)[None]
        query = symbols_at(symbols, PITCH * length + inside)
        items = symbols[:, :-PITCH].reshape(len(symbols), -1, PITCH)[..., 1:]
        same = jnp.all(items == query[:, None], axis=2)
        following = (jnp.argmax(same, axis=1, keepdims=True) + 1) % length
        return symbols_at(symbols, PITCH * following + inside)
