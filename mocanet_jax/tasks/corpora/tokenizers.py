"""Four ways to write a text as numbers: bytes, characters, words, byte-level BPE.

    "to be\n"   bytes       116 111 32 98 101 10
                words       to be <eos>

A tokenizer of documents has one more number, the last, for the boundary between them; it is
decoded as a line end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import ClassVar, NamedTuple

import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.chunks import documents_of

NUM_BYTES = 256

REPLACEMENT = "\ufffd"
"""What a character that is not in the alphabet is decoded as."""

UNKNOWN, LINE_END = "<unk>", "<eos>"
"""The words with the numbers 0 and 1."""


@dataclass(frozen=True)
class Tokenizer:
    """documents: there is a boundary between documents.

    A subclass has further members:
        kind: its name
        size: numbers besides the boundary
        encode(text): [tokens], of `dtype`; never the boundary
        decode_plain(ids): the text of numbers without a boundary
        plain_names: what each number stands for, [size]; not for the boundary
        unknown(text): what of it has no number of its own, each once, in order
    """

    documents: bool

    kind: ClassVar[str]

    def __len__(self) -> int:
        return self.size + self.documents

    @property
    def names(self) -> tuple[str, ...]:
        """What each number stands for."""
        return (*self.plain_names, *["<boundary>"] * self.documents)

    @property
    def boundary(self) -> int | None:
        """The last number; None without documents."""
        return self.size if self.documents else None

    @property
    def dtype(self) -> np.dtype:
        """uint8, uint16 or int32, the first that holds every number."""
        if len(self) <= 2**8:
            return np.dtype(np.uint8)
        return np.dtype(np.uint16 if len(self) <= 2**16 else np.int32)

    def decode(self, ids) -> str:
        """ids: int [tokens] in [0, len). Raises IndexError or ValueError for others."""
        ids = np.asarray(ids, np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self):
            raise ValueError(f"tokens must be in [0, {len(self)})")
        if not self.documents:
            return self.decode_plain(ids)
        ends = np.flatnonzero(ids == self.boundary)
        parts = np.split(ids, ends)
        first, *others = parts
        return "\n".join(
            [self.decode_plain(first), *(self.decode_plain(p[1:]) for p in others)]
        )

    def unknown(self, text: str) -> list[str]:
        return []

    def fields(self) -> dict:
        """As values of JSON, for `tokenizer_of`."""
        return {"kind": self.kind, "documents": self.documents}


@dataclass(frozen=True)
class Bytes(Tokenizer):
    """The bytes of UTF-8."""

    kind: ClassVar[str] = "bytes"
    size: ClassVar[int] = NUM_BYTES

    @property
    def plain_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(NUM_BYTES)))

    def encode(self, text: str) -> np.ndarray:
        content = text.encode("utf-8", "surrogatepass")
        return np.frombuffer(content, np.uint8).astype(self.dtype, copy=False)

    def decode_plain(self, ids) -> str:
        return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")


@dataclass(frozen=True)
class Characters(Tokenizer):
    """alphabet: the known characters in the order of their numbers, none twice. The number
    after them is that of all others.
    """

    alphabet: str

    kind: ClassVar[str] = "characters"

    @property
    def size(self) -> int:
        return len(self.alphabet) + 1

    @property
    def plain_names(self) -> tuple[str, ...]:
        return (*self.alphabet, UNKNOWN)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """By code point; one more for all code points behind."""
        points = _code_points(self.alphabet)
        table = np.full(int(points.max(initial=0)) + 2, self.size - 1, self.dtype)
        table[points] = np.arange(len(points))
        return table

    def encode(self, text: str) -> np.ndarray:
        points = _code_points(text)
        return self._numbers[np.minimum(points, len(self._numbers) - 1)]

    def unknown(self, text: str) -> list[str]:
        return [c for c in dict.fromkeys(text) if c not in self.alphabet]

    def decode_plain(self, ids) -> str:
        return "".join([(self.alphabet + REPLACEMENT)[i] for i in ids.tolist()])

    def fields(self) -> dict:
        return super().fields() | {"alphabet": self.alphabet}


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass(frozen=True)
class Words(Tokenizer):
    """Words between white space; a line end is the word <eos>, as in the Penn Treebank.

    words: the known ones in the order of their numbers, UNKNOWN and LINE_END first, none
    twice; all others are UNKNOWN.
    """

    words: tuple[str, ...]

    kind: ClassVar[str] = "words"

    @property
    def size(self) -> int:
        return len(self.words)

    @property
    def plain_names(self) -> tuple[str, ...]:
        return self.words

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, text: str) -> np.ndarray:
        words = _words(text)
        return np.fromiter(
            map(self._numbers.get, words, repeat(0)), self.dtype, count=len(words)
        )

    def unknown(self, text: str) -> list[str]:
        return [word for word in dict.fromkeys(_words(text)) if word not in self._numbers]

    def decode_plain(self, ids) -> str:
        """White space is a space each, but for line ends."""
        text = " ".join("\n" if i == 1 else self.words[i] for i in ids.tolist())
        return text.replace(" \n", "\n").replace("\n ", "\n")

    def fields(self) -> dict:
        return super().fields() | {"words": list(self.words)}


def _words(text):
    return text.replace("\n", f" {LINE_END} ").split()


@dataclass(frozen=True)
class Bpe(Tokenizer):
    """Byte-level BPE (Radford et al., 2019). model: JSON of Hugging Face's tokenizers.

    Raises UserError where that package is not installed.
    """

    model: str

    kind: ClassVar[str] = "bpe"

    def __post_init__(self):
        _ = self._tokenizer

    @cached_property
    def _tokenizer(self):
        return _library().Tokenizer.from_str(self.model)

    @cached_property
    def size(self) -> int:
        return self._tokenizer.get_vocab_size()

    @cached_property
    def plain_names(self) -> tuple[str, ...]:
        return tuple(map(self._tokenizer.id_to_token, range(self.size)))

    def encode(self, text: str) -> np.ndarray:
        plain = text.encode("utf-8", "replace").decode()  # the library takes no surrogates
        return np.array(self._tokenizer.encode(plain).ids, self.dtype)

    def decode_plain(self, ids) -> str:
        return self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)

    def fields(self) -> dict:
        return super().fields() | {"model": self.model}


def _library():
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            "the tokenizer bpe needs the package tokenizers; install it by "
            "pip install 'mocanet-jax[bpe]', or choose bytes, characters or words"
        ) from error
    return tokenizers


KINDS = {kind.kind: kind for kind in (Bytes, Characters, Words, Bpe)}


class Settings(NamedTuple):
    """documents: every line that is not blank is one. min_freq: occurrences from which on a
    word is known. max_vocab_size: most numbers of words and bpe, besides the boundary.
    """

    documents: bool
    min_freq: int
    max_vocab_size: int


def build_tokenizer(kind: str, chunks: Iterable[str], settings: Settings) -> Tokenizer:
    """The tokenizer of a training split. kind: of KINDS. chunks: chunks.py; of documents, whole
    lines. Raises UserError for an unknown kind, and for settings that leave no words."""
    if kind not in KINDS:
        raise UserError(
            f"config.data.tokenizer must be one of {', '.join(KINDS)}, not {kind!r}"
        )
    smallest = {Words: 3, Bpe: NUM_BYTES}.get(KINDS[kind], 1)
    if settings.min_freq < 1 or settings.max_vocab_size < smallest:
        raise UserError(
            f"the tokenizer {kind} needs min_freq of at least 1 and max_vocab_size of at least "
            f"{smallest}, not {settings.min_freq} and {settings.max_vocab_size}"
        )
    if kind == Bytes.kind:
        return Bytes(settings.documents)
    if settings.documents:
        chunks = _without_line_ends(chunks)
    build = {"characters": _alphabet, "words": _vocabulary, "bpe": _merges}[kind]
    return KINDS[kind](settings.documents, build(chunks, settings))


def _without_line_ends(chunks) -> Iterator[str]:
    for chunk in chunks:
        yield from documents_of(chunk)


def _alphabet(chunks, settings):
    found = set()
    for chunk in chunks:
        found.update(chunk)
    return "".join(sorted(found))


def _vocabulary(chunks, settings):
    counts = Counter()
    for chunk in chunks:
        counts.update(_words(chunk))
    for word in (UNKNOWN, LINE_END):
        counts.pop(word, None)
    ranked = counts.most_common(settings.max_vocab_size - 2)
    return (UNKNOWN, LINE_END, *(w for w, count in ranked if count >= settings.min_freq))


def _merges(chunks, settings):
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=settings.max_vocab_size,
        min_frequency=2,  # a pair that occurs once is none to merge
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(iter(chunks), trainer)
    return tokenizer.to_str()


def tokenizer_of(fields: dict) -> Tokenizer:
    """Of what `Tokenizer.fields` returned. Raises ValueError or TypeError for others."""
    values = dict(fields)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"there is no tokenizer {kind!r}")
    if kind == Words.kind:
        values["words"] = tuple(values["words"])
    return KINDS[kind](**values)
