"""A split as one array of tokens.

"to be\nor not"     stream      to be <eos> or not
                    documents   | to be | or not |          | is the boundary
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.chunks import documents_of
from mocanet_jax.tasks.corpora.tokenizers import Tokenizer

MAX_TOKENS = 2_000_000_000
"""Of a split, so that places in it are int32."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A split. Equal and hashed by identity, so that what is derived from it can be cached.

    Attributes:
        ids: [N], uint8, uint16 or int32. Each document has the boundary before it, and the
            last one the boundary after it, too
        starts: int64 [documents], places of the boundaries before documents; [0] for a stream
        characters, bytes: of the text, bytes in UTF-8
        words: between white space, and line ends

    Each document counts with one line end, which the boundary after it stands for.
    """

    ids: np.ndarray
    starts: np.ndarray
    characters: int
    bytes: int
    words: int

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> dict:
        """Equal for equal tokens of an equal type: their number and a checksum."""
        digest = hashlib.sha256(self.ids)
        digest.update(self.starts)
        counts = {"tokens": len(self), "documents": len(self.starts)}
        return counts | {"sha256": digest.hexdigest()}


class _Growing:
    """An array that is appended to; a half more is allocated when it is full, so that memory
    is never that of the array twice and more."""

    def __init__(self, dtype):
        self.size = 0
        self._values = np.empty(1 << 16, dtype)

    def extend(self, values):
        end = self.size + len(values)
        if end > len(self._values):
            self._values.resize(max(end, len(self._values) * 3 // 2), refcheck=False)
        self._values[self.size : end] = values
        self.size = end

    def finished(self):
        self._values.resize(self.size, refcheck=False)
        return self._values


def encode_corpus(
    texts: Mapping[str, Iterable[str]], tokenizer: Tokenizer
) -> dict[str, Tokens]:
    """Every split of `files.read_corpus`. Raises UserError as `encode_split` does."""
    return {split: encode_split(split, text, tokenizer) for split, text in texts.items()}


def encode_split(split: str, chunks: Iterable[str], tokenizer: Tokenizer) -> Tokens:
    """The tokens of a text.

    Args:
        split: its name; of "train", two different tokens are expected
        chunks: chunks.py; whole lines where the tokenizer is one of documents

    Raises UserError for fewer than two tokens, more than MAX_TOKENS, or a training split of
    one token all over.
    """
    ids, starts = _Growing(tokenizer.dtype), _Growing(np.int64)
    counts = np.zeros(3, np.int64)
    if tokenizer.documents:
        parts = _of_documents(chunks, tokenizer, starts, counts)
    else:
        starts.extend([0])
        parts = _of_stream(chunks, tokenizer, counts)
    for part in parts:
        ids.extend(part)
        if ids.size > MAX_TOKENS:
            raise UserError(
                f"the split {split} has more than {MAX_TOKENS:,} tokens; pass less text, or "
                "use a tokenizer with a larger vocabulary"
            )
    tokens = Tokens(ids.finished(), starts.finished(), *counts.tolist())
    _check(split, tokens, tokenizer)
    return tokens


def _of_stream(chunks, tokenizer, counts) -> Iterator[np.ndarray]:
    for chunk in chunks:
        counts += (len(chunk), _num_bytes(chunk), len(chunk.split()) + chunk.count("\n"))
        yield tokenizer.encode(chunk)


def _of_documents(chunks, tokenizer, starts, counts) -> Iterator[np.ndarray]:
    boundary = np.array([tokenizer.boundary], tokenizer.dtype)
    place = 0
    for chunk in chunks:
        documents = documents_of(chunk)
        parts = [boundary] * (2 * len(documents))
        parts[1::2] = [tokenizer.encode(document) for document in documents]
        lengths = np.array([1 + len(part) for part in parts[1::2]], np.int64)
        starts.extend(place + np.cumsum(lengths) - lengths)
        place += int(lengths.sum())
        text = "\n".join([*documents, ""])
        counts += (len(text), _num_bytes(text), len(text.split()) + len(documents))
        if parts:
            yield np.concatenate(parts)
    yield boundary


def _num_bytes(text):
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _check(split, tokens, tokenizer):
    least = 2 + tokenizer.documents  # boundaries on both sides of a document
    if len(tokens) < least:
        raise UserError(
            f"the split {split} has fewer than 2 tokens; a model predicts each from those "
            "before it, so pass more text"
        )
    first = tokens.ids[least - 2]
    others = tokens.ids != first
    if tokenizer.documents:
        others &= tokens.ids != tokenizer.boundary
    if split == "train" and not others.any():
        raise UserError(
            f"the split {split} is one token all over, {tokenizer.decode([first])!r}; there is "
            "nothing to learn, so pass another text or tokenizer"
        )
