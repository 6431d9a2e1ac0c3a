"""Word problem of a group: which element is the product of the generators read so far?

    input   a b b a
    target  a ba bba abba        each as one word for the element; every step is scored

L generators, uniform and independent, and after each the product, of which the last factor
acts last. The group is of permutations of degree 5: all of them (S5, 120 elements) or the even
ones (A5, 60). Neither is solvable, so that the problem is complete for NC¹ (Barrington, 1989),
and no diagonal linear recurrence of fixed depth solves it (the form and the argument: Merrill
et al., 2024, "The Illusion of State in State-Space Models").

Axes: B batch, T time = N generators of the longest input.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.tasks.synthetic.sequence import Batch, SequenceTask

DEGREE = 5
BLANK, FIRST = 0, 1
GENERATING = {
    "S5": ((1, 0, 2, 3, 4), (1, 2, 3, 4, 0)),
    "A5": ((1, 2, 0, 3, 4), (1, 2, 3, 4, 0)),
}
"""Two elements of each group that generate it, as the images of 0 to 4: a transposition, or a
cycle of three, and a cycle of five."""


@dataclass(frozen=True)
class GroupWordTask(SequenceTask):
    """Lengths are numbers of generators, L. Tokens: a blank, the generators, the elements in
    lexicographic order of their images.

    Attributes:
        group: S5 or A5
        generators: how many, from 2 to all elements: two that generate the group, then its
            other elements in lexicographic order
    """

    group: str
    generators: int

    blank: ClassVar[int] = BLANK
    marker: ClassVar[None] = None

    def __post_init__(self):
        super().__post_init__()
        if self.group not in GENERATING:
            raise ValueError(f"group must be S5 or A5, not {self.group!r}")
        if not 2 <= self.generators <= len(self.elements):
            raise ValueError(
                f"generators must be from 2 to the {len(self.elements)} elements of "
                f"{self.group}, not {self.generators}"
            )

    @cached_property
    def elements(self) -> list[tuple[int, ...]]:
        """The group in lexicographic order, each as the images of 0 to 4."""
        every = list(permutations(range(DEGREE)))
        return every if self.group == "S5" else [p for p in every if _is_even(p)]

    @cached_property
    def table(self) -> np.ndarray:
        """int32 [generators, elements]: g ∘ e, the element that a generator makes of
        another."""
        first = GENERATING[self.group]
        chosen = [*first, *(e for e in self.elements if e not in first)][: self.generators]
        number = {element: i for i, element in enumerate(self.elements)}
        product = lambda g, e: tuple(g[image] for image in e)
        rows = [[number[product(g, e)] for e in self.elements] for g in chosen]
        return np.array(rows, np.int32)

    @property
    def vocab_size(self) -> int:
        return FIRST + self.generators + len(self.elements)

    def num_steps(self, length: int) -> int:
        return length

    def answer_length(self, length):
        return length

    def sample(self, key: jax.Array, batch: int, lengths: tuple, fit: int) -> Batch:
        """B sequences, padded to `fit`.

        lengths: inclusive bounds of L; Python or traced ints, at most `fit`.
        """
        length_key, word_key = jax.random.split(key)
        length = jax.random.randint(length_key, (batch, 1), lengths[0], lengths[1] + 1)
        word = jax.random.randint(word_key, (batch, fit), 0, self.generators)
        table = jnp.asarray(self.table)

        def multiply(product, generator):
            product = table[generator, product]
            return product, product

        identity = jnp.zeros(batch, jnp.int32)  # the first in lexicographic order
        products = jax.lax.scan(multiply, identity, word.T)[1].T
        live = jnp.arange(fit)[None] < length
        tokens = jnp.where(live, FIRST + word, BLANK)
        targets = jnp.where(live, FIRST + self.generators + products, BLANK)
        return Batch(tokens, targets, live, live, length[:, 0])


def _is_even(permutation) -> bool:
    pairs = [(i, j) for j in range(DEGREE) for i in range(j)]
    return sum(permutation[i] > permutation[j] for i, j in pairs) % 2 == 0
