"""Multi-query associative recall: pairs of key and value, then keys, whose values are due.

    input   2 8 4 7 · · 4 · · · 2 ·
    target  · · · · · · 7 · · · 8 ·        scored where a key is queried

A context of N pairs, keys in [1, V/2) and values in [V/2, V), none twice; then every key once
more, at an even distance from the context's end, in an order of its own. Pair n finds its
place among the free ones, one pair after another, place i = 1, 2, … with a probability in
proportion to i^(a - 1): most queries come soon. Other steps hold tokens drawn from the whole
vocabulary, or blanks. T is 4N, the least that fits N queries at the even steps, but not below
input_length. (Arora et al., 2023, "Zoology", and their settings: T/N of 64/4, 64/8, 64/16,
128/32, 256/64. They mix a few N in a data set; here N is drawn for each sequence.)

Axes: B batch, T time, N pairs, V vocabulary.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.tasks.languages.distinct import distinct
from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

BLANK = 0


@dataclass(frozen=True)
class MqarTask(SequenceTask):
    """Lengths are numbers of pairs, N.

    Attributes:
        vocab_size: V, even, with keys for the longest N
        input_length: smallest T, even
        power: a of the power law; 1 for queries anywhere, the less the sooner
        random_filler: steps without a pair or a query hold random tokens; else blanks
    """

    vocab_size: int
    input_length: int
    power: float
    random_filler: bool

    blank: ClassVar[int] = BLANK
    marker: ClassVar[None] = None

    def __post_init__(self):
        for name in ("vocab_size", "input_length"):
            if getattr(self, name) < 4 or getattr(self, name) % 2:
                raise ValueError(
                    f"{name} must be an even number from 4 on, not {getattr(self, name)}"
                )
        super().__post_init__()

    @property
    def limit(self) -> int:
        """The number of keys."""
        return self.vocab_size // 2 - 1

    def num_steps(self, length: int) -> int:
        """T of `length` pairs and as many queries."""
        return max(self.input_length, 4 * length)

    def answer_length(self, length):
        return length

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences, padded to num_steps(fit).

        lengths: inclusive bounds of N; Python or traced ints, at most `fit`.
        """
        pair_key, key_key, value_key, place_key, filler_key = jax.random.split(key, 5)
        pairs = jax.random.randint(pair_key, (batch, 1), lengths[0], lengths[1] + 1)
        first_value, steps = self.vocab_size // 2, self.num_steps(fit)
        keys = 1 + distinct(key_key, batch, fit, first_value - 1)
        values = first_value + distinct(value_key, batch, fit, first_value)
        context = jnp.stack([keys, values], axis=2).reshape(batch, -1)
        context = jnp.pad(context, ((0, 0), (0, steps - 2 * fit)))

        end = jnp.maximum(self.input_length, 4 * pairs)
        query = 2 * (pairs + self._places(place_key, end // 2 - pairs, fit, steps // 2))
        query = jnp.where(jnp.arange(fit)[None] < pairs, query, steps)  # the others nowhere
        row, nowhere = jnp.arange(batch)[:, None], jnp.full((batch, steps), BLANK)
        queries = nowhere.at[row, query].set(keys, mode="drop")
        targets = nowhere.at[row, query].set(values, mode="drop")

        step, scored, filler = jnp.arange(steps)[None], targets != BLANK, nowhere
        if self.random_filler:
            filler = jax.random.randint(filler_key, nowhere.shape, 0, self.vocab_size)
        tokens = jnp.where(scored, queries, jnp.where(step < end, filler, BLANK))
        tokens = jnp.where(step < 2 * pairs, context, tokens)
        mask = jnp.broadcast_to(step < end, nowhere.shape)
        return Batch(tokens, targets, scored, mask, pairs[:, 0])

    def _places(self, key, free, count, places):
        """Places of queries, int32 [B, count], different and the first ones below `free`,
        int32 [B, 1]: one after another by the power law, which is to take those of the largest
        logarithms of probability plus Gumbel noise, in their order (Plackett and Luce).
        """
        place = jnp.arange(places)[None]
        noise = jax.random.gumbel(key, (len(free), places))
        score = (self.power - 1) * jnp.log(place + 1.0) + noise
        return jax.lax.top_k(jnp.where(place < free, score, -jnp.inf), count)[1]
