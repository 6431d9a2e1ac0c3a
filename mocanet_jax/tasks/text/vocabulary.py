"""Words and their pieces as numbers, and as JSON.

    "dull ."  →  [[17, 803, 5121, …, 0], [4, 0, …, 0]]      word, then its hashed n-grams

Axes: T words, M pieces of a word.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mocanet_jax.nn.models.words import NO_PIECE, UNKNOWN_WORD

NGRAM_LENGTHS = (3, 4, 5)
FIRST_WORD = UNKNOWN_WORD + 1


@dataclass(frozen=True)
class Vocabulary:
    """words: the known ones; the first has number FIRST_WORD. Smaller numbers are padding
    and UNKNOWN_WORD. num_pieces: hash buckets of n-grams, NO_PIECE among them.
    max_pieces: M, n-grams kept of a word.
    """

    words: tuple[str, ...]
    num_pieces: int
    max_pieces: int

    def __post_init__(self):
        if self.max_pieces < 0 or self.num_pieces < 2:
            raise ValueError(
                f"num_pieces must be at least 2 and max_pieces at least 0, "
                f"not {self.num_pieces} and {self.max_pieces}"
            )

    def __len__(self) -> int:
        """Rows of the word table."""
        return FIRST_WORD + len(self.words)

    @property
    def names(self) -> tuple[str, ...]:
        """What each row of the word table stands for."""
        return ("<pad>", "<unk>", *self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: FIRST_WORD + i for i, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 [T, 1 + M]: each token's number, UNKNOWN_WORD for others, and its pieces."""
        rows = np.full((len(tokens), 1 + self.max_pieces), NO_PIECE, np.int32)
        for row, token in zip(rows, tokens, strict=True):
            row[0] = self._numbers.get(token, UNKNOWN_WORD)
            pieces = self.pieces(token)
            row[1 : 1 + len(pieces)] = pieces
        return rows

    def pieces(self, token: str) -> list[int]:
        """Hashes in [1, num_pieces) of the character n-grams of `<token>`, at most M."""
        marked = f"<{token}>"
        grams = dict.fromkeys(
            marked[start : start + n]
            for n in NGRAM_LENGTHS
            for start in range(min(len(marked) - n + 1, self.max_pieces))
        )
        return [
            1 + zlib.crc32(gram.encode("utf-8", "surrogatepass")) % (self.num_pieces - 1)
            for gram in list(grams)[: self.max_pieces]
        ]

    def fields(self) -> dict:
        """As values of JSON."""
        sizes = {"num_pieces": self.num_pieces, "max_pieces": self.max_pieces}
        return sizes | {"words": list(self.words)}


def build_vocabulary(
    texts: Iterable[Sequence[str]],
    min_freq: int,
    max_size: int,
    num_pieces: int,
    max_pieces: int,
) -> Vocabulary:
    """Words of tokenised texts that occur `min_freq` times or more, the `max_size` most
    frequent of them; among equals the one met first."""
    counts = Counter(token for text in texts for token in text)
    words = [word for word, count in counts.most_common(max_size) if count >= min_freq]
    return Vocabulary(tuple(words), num_pieces, max_pieces)


def vocabulary_of(fields: dict) -> Vocabulary:
    """Of what `Vocabulary.fields` returned."""
    return Vocabulary(tuple(fields["words"]), fields["num_pieces"], fields["max_pieces"])
