"""A split as one array: boundaries, counts, fingerprints, and what is refused."""

import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora import corpus
from mocanet_jax.tasks.corpora.chunks import recut
from mocanet_jax.tasks.corpora.corpus import encode_corpus, encode_split
from mocanet_jax.tasks.corpora.tokenizers import Bytes, Characters, Settings, build_tokenizer

STREAM, DOCUMENTS = Characters(False, "\n abé"), Characters(True, "\n abé")


def test_a_stream_is_its_tokens():
    """Hand-made. Characters, bytes and words are what a loss is divided by: 8 characters, of
    which é has two bytes; three words and two line ends."""
    tokens = encode_split("train", ["a b\n", "éa \n"], STREAM)
    assert tokens.ids.tolist() == [2, 1, 3, 0, 4, 2, 1, 0]
    assert tokens.ids.dtype == np.uint8
    assert tokens.starts.tolist() == [0]
    assert (tokens.characters, tokens.bytes, tokens.words) == (8, 9, 5)


def test_documents_have_boundaries_around_them():
    """Hand-made, 6 is the boundary. A model would never learn where a document begins or
    ends. Line ends count as one each, as in a stream."""
    tokens = encode_split("train", ["a b\r\n\n", " \n", "éa\nb"], DOCUMENTS)
    assert tokens.ids.tolist() == [6, 2, 1, 3, 6, 4, 2, 6, 3, 6]
    assert tokens.starts.tolist() == [0, 4, 7]
    assert tokens.starts.dtype == np.int64
    assert (tokens.characters, tokens.bytes, tokens.words) == (9, 10, 7)


@pytest.mark.parametrize("kind", ["bytes", "characters", "words"])
@pytest.mark.parametrize("documents", [False, True])
def test_tokens_do_not_depend_on_the_chunks(kind, documents):
    """Runs on the same text would differ when it is read or packed in another way; longer
    arrays than the first allocated one are grown."""
    text = "".join(f"line {i} of thé text\n" for i in range(9000))
    tokenizer = build_tokenizer(kind, [text], Settings(documents, 1, 10_000))
    pieces = recut((text[i : i + 777] for i in range(0, len(text), 777)), documents)
    whole, parts = (encode_split("train", part, tokenizer) for part in ([text], pieces))
    assert whole.fingerprint() == parts.fingerprint()
    assert whole.starts.tolist() == parts.starts.tolist()
    assert (whole.characters, whole.bytes, whole.words) == (
        parts.characters,
        parts.bytes,
        parts.words,
    )
    decoded = tokenizer.decode(whole.ids)
    assert decoded.removeprefix("\n") == text


def test_a_fingerprint_is_of_the_tokens():
    """A run would be resumed or compared on another corpus."""
    texts = ["ab a", "ab b", "ab ab"]
    prints = [encode_split("train", [text], STREAM).fingerprint() for text in texts]
    assert prints[0]["tokens"] == 4
    assert prints[0]["documents"] == 1
    assert len({found["sha256"] for found in prints}) == 3
    assert prints[0] == encode_split("valid", ["ab ", "a"], STREAM).fingerprint()


def refused(split, text, tokenizer):
    with pytest.raises(UserError) as error:
        encode_split(split, [text], tokenizer)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_text_that_nothing_can_be_learned_from_is_refused(monkeypatch):
    """Otherwise a loss of 0, or a mean over nothing."""
    assert "the split valid has fewer than 2 tokens" in refused("valid", "a", STREAM)
    assert "the split valid has fewer than 2 tokens" in refused("valid", "\n", DOCUMENTS)
    assert "the split train is one token all over, 'a'" in refused("train", "aaa", STREAM)
    assert "the split train is one token all over" in refused("train", "a\naa", DOCUMENTS)
    assert len(encode_split("valid", ["aaa"], STREAM)) == 3
    monkeypatch.setattr(corpus, "MAX_TOKENS", 3)
    assert "the split test has more than 3 tokens" in refused("test", "abab", STREAM)


def test_every_split_of_a_corpus():
    """The name of a split goes with its text."""
    splits = encode_corpus({"train": ["abc"], "valid": ["de"]}, Bytes(False))
    assert {name: tokens.ids.tolist() for name, tokens in splits.items()} == {
        "train": [97, 98, 99],
        "valid": [100, 101],
    }
