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

With noise r the context holds rN further tokens, of NOISE_KINDS kinds of their own, anywhere
but between a key and its value (noisy recall: Poli et al., 2024, "Mechanistic design and
scaling of hybrid architectures"), and T is (4 + r)N. What is written has to be chosen where
memory has fewer slots than the context has tokens.

Axes: B batch, T time, N pairs, V vocabulary.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mocanet_jax.core.rows import placed
from mocanet_jax.tasks.languages.distinct import distinct
from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

BLANK = 0

NOISE_KINDS = 16
"""The last tokens of V, which mean nothing where there is noise; else they are values."""


@dataclass(frozen=True)
class MqarTask(SequenceTask):
    """Lengths are numbers of pairs, N.

    Attributes:
        vocab_size: V, even, with keys for the longest N
        input_length: smallest T, even
        power: a of the power law; 1 for queries anywhere, the less the sooner
        random_filler: steps without a pair or a query hold random tokens; else blanks
        noise: r, tokens without a meaning in the context, a pair; a whole number
    """

    vocab_size: int
    input_length: int
    power: float
    random_filler: bool
    noise: int = 0

    blank: ClassVar[int] = BLANK
    marker: ClassVar[None] = None

    def __post_init__(self):
        for name in ("vocab_size", "input_length"):
            if getattr(self, name) < 4 or getattr(self, name) % 2:
                raise ValueError(
                    f"{name} must be an even number from 4 on, not {getattr(self, name)}"
                )
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, not {self.noise}")
        super().__post_init__()

    @property
    def _num_values(self):
        return self.vocab_size // 2 - (NOISE_KINDS if self.noise else 0)

    @property
    def limit(self) -> int:
        """The number of keys, or of values where those are fewer."""
        return min(self.vocab_size // 2 - 1, self._num_values)

    def num_steps(self, length: int) -> int:
        """T of `length` pairs and as many queries."""
        return max(self.input_length, (4 + self.noise) * length)

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
        values = first_value + distinct(value_key, batch, fit, self._num_values)
        row, nowhere = jnp.arange(batch)[:, None], jnp.full((batch, steps), BLANK)
        place, noise = self._pairs(jax.random.fold_in(key, 5), pairs, fit, steps)
        context = noise.at[row, place].set(keys, mode="drop")
        context = context.at[row, place + 1].set(values, mode="drop")

        length = (2 + self.noise) * pairs
        end = jnp.maximum(self.input_length, (4 + self.noise) * pairs)
        query = length + 2 * self._places(place_key, (end - length) // 2, fit, steps // 2)
        query = jnp.where(jnp.arange(fit)[None] < pairs, query, steps)  # the others nowhere
        queries = nowhere.at[row, query].set(keys, mode="drop")
        targets = nowhere.at[row, query].set(values, mode="drop")

        step, scored, filler = jnp.arange(steps)[None], targets != BLANK, nowhere
        if self.random_filler:
            filler = jax.random.randint(filler_key, nowhere.shape, 0, self.vocab_size)
        tokens = jnp.where(scored, queries, jnp.where(step < end, filler, BLANK))
        tokens = jnp.where(step < length, context, tokens)
        mask = jnp.broadcast_to(step < end, nowhere.shape)
        return Batch(tokens, targets, scored, mask, pairs[:, 0])

    def _pairs(self, key, pairs, count, steps):
        """Places of keys in the context, int32 [B, count], `steps` for those beyond `pairs`,
        int32 [B, 1]; and tokens for the places between, int32 [B, steps].

        Pairs and noise are units, in an order drawn by chance.
        """
        place_key, noise_key = jax.random.split(key)
        units = count * (1 + self.noise)
        number = jnp.arange(units)[None]
        chance = jax.random.uniform(place_key, (len(pairs), units))
        chance = jnp.where(number < pairs * (1 + self.noise), chance, 2.0)
        rank = jnp.argsort(jnp.argsort(chance, axis=1), axis=1)
        is_pair = rank < pairs
        pair = jnp.where(is_pair, jnp.cumsum(is_pair, axis=1) - 1, count)
        begin = number + jnp.cumsum(is_pair, axis=1) - is_pair
        place = placed(begin.astype(jnp.int32), pair, count, steps)
        lowest = self.vocab_size - NOISE_KINDS
        noise = jax.random.randint(noise_key, (len(pairs), steps), lowest, self.vocab_size)
        return place, noise

    def _places(self, key, free, count, places):
        """Places of queries, int32 [B, count], different and the first ones below `free`,
        int32 [B, 1]: one after another by the power law, which is to take those of the largest
        logarithms of probability plus Gumbel noise, in their order (Plackett and Luce).
        """
        place = jnp.arange(places)[None]
        noise = jax.random.gumbel(key, (len(free), places))
        score = (self.power - 1) * jnp.log(place + 1.0) + noise
        return jax.lax.top_k(jnp.where(place < free, score, -jnp.inf), count)[1]
