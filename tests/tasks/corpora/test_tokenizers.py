"""Tokenizers: round trips, hand-made examples, and what is refused."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.tokenizers import (
    KINDS,
    Bytes,
    Characters,
    Settings,
    Words,
    build_tokenizer,
    tokenizer_of,
)

TEXT = "the cat sat on the mat .\nthe <unk> sat .\n"
SETTINGS = Settings(documents=False, min_freq=1, max_vocab_size=300)
DOCUMENTS = SETTINGS._replace(documents=True)


def built(kind, settings=SETTINGS, text=TEXT):
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    return build_tokenizer(kind, [text], settings)


@given(st.text())
def test_any_text_is_the_same_in_bytes(text):
    """What a model writes would not be what it was trained on."""
    for documents in (False, True):
        tokenizer = Bytes(documents)
        ids = tokenizer.encode(text)
        assert ids.tolist() == list(text.encode())
        assert tokenizer.decode(ids) == text


@pytest.fixture(scope="module")
def bpe():
    return built("bpe"), built("bpe", DOCUMENTS)


@given(text=st.text())
def test_any_text_is_the_same_in_bpe(bpe, text):
    """Bytes stand for what was not met in training."""
    for tokenizer in bpe:
        ids = tokenizer.encode(text)
        assert ids.dtype == np.uint16
        assert tokenizer.decode(ids) == text


def test_bpe_joins_what_is_frequent(bpe):
    """Otherwise it is a slow way to write bytes."""
    tokenizer = bpe[0]
    assert len(tokenizer) > 256
    assert len(tokenizer.encode("the")) == 1
    assert len(tokenizer.encode(TEXT)) < len(TEXT)


@given(st.text("the catsonm.\n<>unk"))
def test_characters_of_the_alphabet_are_the_same(text):
    """As for bytes."""
    for settings in (SETTINGS, DOCUMENTS):
        tokenizer = built("characters", settings)
        kept = text if not settings.documents else text.replace("\n", "")
        assert tokenizer.decode(tokenizer.encode(kept)) == kept


def test_characters_are_sorted_and_others_unknown():
    """Hand-made: c=2 is behind a=0, b=1; 3 is for all others, also those behind in Unicode."""
    tokenizer = built("characters", text="cab")
    assert tokenizer.alphabet == "abc"
    assert len(tokenizer) == 4
    assert tokenizer.encode("bcz\U0010ffff!").tolist() == [1, 2, 3, 3, 3]
    assert tokenizer.decode([1, 2, 3]) == "bc\ufffd"


def test_what_a_tokenizer_does_not_know_is_named():
    """Each once, in order: else a prompt is read as something else without a word."""
    assert Characters(False, "abc ").unknown("a xcyx") == ["x", "y"]
    words = Words(False, ("<unk>", "<eos>", "a"))
    assert words.unknown("a b\na c b") == ["b", "c"]
    assert Bytes(False).unknown("ü") == []


def test_words_are_numbered_by_frequency():
    """Hand-made: `the` occurs three times, `sat` and `.` twice; a line end is <eos>, and <unk>
    in the text is the unknown word."""
    tokenizer = built("words")
    assert tokenizer.words[:5] == ("<unk>", "<eos>", "the", "sat", ".")
    ids = tokenizer.encode("the dog\tsat\r\n<unk> <eos>")
    assert ids.tolist() == [2, 0, 3, 1, 0, 1]
    assert tokenizer.decode(ids) == "the <unk> sat\n<unk>\n"
    assert tokenizer.decode(tokenizer.encode("\n\nthe cat\n\n.")) == "\n\nthe cat\n\n."


def test_rare_words_and_those_beyond_the_size_are_unknown():
    """The vocabulary of PTB is 10,000 words with both special ones."""
    assert built("words", SETTINGS._replace(min_freq=2)).words[2:] == ("the", "sat", ".")
    assert len(built("words", SETTINGS._replace(max_vocab_size=4))) == 4
    assert len(built("words", DOCUMENTS._replace(max_vocab_size=4))) == 5


def test_words_are_the_same_however_the_text_comes():
    """The vocabulary would depend on how a file is read."""
    lines = TEXT.splitlines(keepends=True)
    whole, parts = (build_tokenizer("words", text, SETTINGS) for text in ([TEXT], lines))
    assert whole == parts


@pytest.mark.parametrize("kind", KINDS)
def test_the_boundary_is_the_last_number(kind):
    """A document must not be able to hold it, and chat shows it as a line end."""
    plain, tokenizer = built(kind), built(kind, DOCUMENTS)
    assert plain.boundary is None
    assert tokenizer.boundary == len(tokenizer) - 1
    ids = tokenizer.encode("the cat\nsat")
    assert ids.max() < tokenizer.boundary
    parts = [tokenizer.encode("the cat"), [tokenizer.boundary], tokenizer.encode("sat")]
    assert tokenizer.decode(np.concatenate(parts)) == "the cat\nsat"
    assert tokenizer.decode([tokenizer.boundary]) == "\n"
    assert tokenizer.decode([]) == ""
    for wrong in (-1, len(tokenizer)):
        with pytest.raises(ValueError, match="tokens must be in"):
            tokenizer.decode([0, wrong])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [SETTINGS, DOCUMENTS])
def test_a_tokenizer_is_restored_from_json(kind, settings):
    """A checkpoint would be used with other numbers."""
    tokenizer = built(kind, settings)
    restored = tokenizer_of(json.loads(json.dumps(tokenizer.fields())))
    assert restored == tokenizer
    assert restored.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()
    assert (len(restored), restored.boundary) == (len(tokenizer), tokenizer.boundary)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_is_no_error(kind):
    """A terminal passes on bytes that are no UTF-8 as such."""
    tokenizer = built(kind)
    tokenizer.decode(tokenizer.encode("a\udc80"))


def test_numbers_take_little_memory():
    """A corpus is held as one array, on the device too."""
    sizes = {254: np.uint8, 256: np.uint16, 65_534: np.uint16, 65_536: np.int32}
    for size, dtype in sizes.items():
        words = Words(True, ("<unk>", "<eos>", *map(str, range(size - 2))))
        assert words.encode(f"x {size - 3}").dtype == dtype
        assert words.encode(f"x {size - 3}").tolist() == [0, size - 1]
    assert Characters(False, "ab").encode("ab").dtype == np.uint8
    assert Bytes(False).encode("ab").dtype == np.uint8


def test_bpe_without_its_package(monkeypatch):
    """The package is optional, and what is missing has another name than what is installed."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install 'mocanet-jax\[bpe\]'"):
        build_tokenizer("bpe", [TEXT], SETTINGS)


def test_settings_that_leave_nothing_are_refused():
    """Otherwise every word is unknown, and the loss is 0."""
    for kind, changes in (
        ("words", {"max_vocab_size": 2}),
        ("words", {"min_freq": 0}),
        ("bpe", {"max_vocab_size": 255}),
    ):
        with pytest.raises(
            UserError, match=f"the tokenizer {kind} needs min_freq of at least 1"
        ):
            build_tokenizer(kind, [TEXT], SETTINGS._replace(**changes))
    with pytest.raises(UserError, match="one of bytes, characters, words, bpe, not 'word'"):
        build_tokenizer("word", [TEXT], SETTINGS)
    with pytest.raises(ValueError, match="there is no tokenizer 'word'"):
        tokenizer_of({"kind": "word"})
