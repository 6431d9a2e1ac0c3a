"""Labelled texts: what is read from a file, what is refused, and what is held out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import hold_out, labelled_texts, read_tsv
from tests.tasks.text.small_corpus import PHRASES, SENTENCES, corpus, of_tokens

HEADER = b"sentence\tlabel\n"
ROWS = HEADER + "A warm café .\t1\nit 's dull\t0\n".encode()


@pytest.fixture
def read(tmp_path):
    """bytes → the texts of a file that holds them."""

    def read(content, num_classes=2):
        file = tmp_path / "train.tsv"
        file.write_bytes(content)
        return read_tsv(file, num_classes)

    return read


@pytest.fixture
def refused(read, tmp_path):
    """bytes → the one line with the reason why they are refused, without the file's name."""

    def refused(content, num_classes=2):
        with pytest.raises(UserError) as error:
            read(content, num_classes)
        return message_of(error, tmp_path / "train.tsv")

    return refused


def message_of(error, file):
    message = str(error.value)
    assert message.startswith(str(file))
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(file))


def test_rows_are_texts_and_labels(read):
    """Otherwise a model is trained on other texts, or on another text's label."""
    texts = read(ROWS)
    assert texts.texts == ["A warm café .", "it 's dull"]
    assert texts.tokens == [["a", "warm", "café", "."], ["it", "'s", "dull"]]
    assert texts.labels.tolist() == [1, 0]
    assert texts.labels.dtype == np.int32
    assert len(texts) == 2


ALIKE = {
    "windows": ROWS.replace(b"\n", b"\r\n"),
    "mark of byte order": b"\xef\xbb\xbf" + ROWS,
    "both": b"\xef\xbb\xbf" + ROWS.replace(b"\n", b"\r\n"),
    "no last line end": ROWS.removesuffix(b"\n"),
    "further columns": ROWS.replace(b"\n", b"\tx\ty\n"),
    "further column in the header": ROWS.replace(HEADER, b"sentence\tlabel\tidx\n"),
    "spaces around the label": ROWS.replace(b"\t1", b"\t 1 "),
}


@pytest.mark.parametrize("form", ALIKE)
def test_the_form_of_the_file_does_not_matter(form, read):
    """A file saved by a spreadsheet would be refused, or its words get a stray character."""
    expected, got = read(ROWS), read(ALIKE[form])
    assert (got.texts, got.tokens) == (expected.texts, expected.tokens)
    np.testing.assert_array_equal(got.labels, expected.labels)


def test_only_line_ends_and_tabs_separate(read):
    """Quotes are words in GLUE's form and keep nothing together; Unicode's separators inside
    a text must not break it in two."""
    odd = ['"good" film', 'an open " quote', "one\u2028two", "one\x0btwo\x85three\x1cfour"]
    content = "".join(f"{text}\t1\n" for text in odd)
    assert read(HEADER + content.encode()).texts == odd


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ", line 1: the header must be sentence<TAB>label"),
        (b"\n", ", line 1: the header must be sentence<TAB>label"),
        (b"a film\t1\n", ", line 1: the header must be sentence<TAB>label"),
        (b"sentence label\n", ", line 1: the header must be sentence<TAB>label"),
        (HEADER, ": no rows below the header"),
        (HEADER.rstrip(), ": no rows below the header"),
        (ROWS + b"good\n", ", line 4: expected sentence<TAB>label, found 1 column"),
        (ROWS + b"\n" + ROWS, ", line 4: expected sentence<TAB>label, found 1 column"),
        (ROWS + b"good\tyes\n", ", line 4: the label must be a whole number from 0 to 1"),
        (
            ROWS + b"good\t2\n",
            ", line 4: the label must be a whole number from 0 to 1, not '2'",
        ),
        (ROWS + b"good\t-1\n", ", line 4: the label must be"),
        (ROWS + b"good\t1.0\n", ", line 4: the label must be"),
        (ROWS + b"good\t01\n", ", line 4: the label must be"),
        (ROWS + b"good\t\n", ", line 4: the label must be"),
        (ROWS + "good\t\u0661\n".encode(), ", line 4: the label must be"),
        (ROWS + b"\t1\n", ", line 4: the sentence is empty"),
        (ROWS + b" \t1\n", ", line 4: the sentence is empty"),
        (ROWS + b"caf\xe9\t1\n", f": not UTF-8 at byte {len(ROWS) + 3}"),
    ],
)
def test_a_wrong_file_is_reported_with_its_line(content, message, refused):
    """Whoever has to mend one line of thousands needs its number."""
    assert refused(content).startswith(message)


def test_a_long_wrong_label_is_not_repeated_whole(refused):
    """A text in the label's column would flood the screen."""
    assert len(refused(HEADER + b"good\t" + b"very " * 10_000 + b"good\n")) < 150


def test_labels_go_up_to_the_number_of_classes(read, refused):
    """With three classes the third label is valid, the fourth is a row beyond the logits."""
    content = HEADER + b"good\t2\n"
    assert read(content, 3).labels.tolist() == [2]
    assert "from 0 to 2, not '3'" in refused(content.replace(b"2", b"3"), 3)


@pytest.mark.parametrize("text", ["<br>", "\u200b", "\u0301 \ufffd"])
def test_a_text_without_a_word_is_reported_with_its_line(text, refused):
    """It cannot be classified, and would be a row of nothing but padding."""
    assert refused(ROWS + f"{text}\t1\n".encode()).startswith(", line 4")


@pytest.mark.parametrize("text", ["", "<br>", "\u200b"])
def test_a_text_without_a_word_is_refused(text):
    """Pooling over no word divides by zero."""
    with pytest.raises(ValueError, match="text 2 is empty"):
        labelled_texts(["good", text], [1, 0])


def test_a_missing_file_or_a_folder_is_reported_in_one_line(tmp_path):
    """A mistyped path must not end in a traceback."""
    for file, reason in ((tmp_path / "none.tsv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError) as error:
            read_tsv(file, 2)
        assert reason in message_of(error, file)


def test_rows_are_taken_together():
    """A text that is taken without its label is trained on another's."""
    texts = corpus(SENTENCES)
    taken = texts.take(np.array([3, 0]))
    assert taken.texts == [SENTENCES[3][0], SENTENCES[0][0]]
    assert taken.tokens == [texts.tokens[3], texts.tokens[0]]
    assert taken.labels.tolist() == [SENTENCES[3][1], SENTENCES[0][1]]
    assert len(texts.take(np.array([], int))) == 0


def contains(whole, part):
    """Whether the words of `part` stand in a row in `whole`."""
    starts = range(len(whole) - len(part) + 1)
    return any(whole[start : start + len(part)] == part for start in starts)


def check_hold_out(texts, share, seed):
    """Compares with the result of comparing every pair of texts. Returns held-out rows."""
    train, held = hold_out(texts, share, seed)
    tokens = texts.tokens
    sentences = {
        tuple(one)
        for one in tokens
        if not any(contains(other, one) for other in tokens if other != one)
    }
    out = [tuple(tokens[row]) for row in held]
    assert len(set(out)) == len(out)
    assert sentences.issuperset(out)
    assert abs(len(out) - share * len(sentences)) <= 0.5
    stay = [list(sentence) for sentence in sentences.difference(out)]
    seen = [row for row, one in enumerate(tokens) if any(contains(s, one) for s in stay)]
    assert train.tolist() == seen
    return held


def test_a_phrase_leaves_training_with_its_only_sentence():
    """A model would be chosen by sentences whose parts it was trained on."""
    texts = corpus(SENTENCES + PHRASES)
    rows = {text: row for row, text in enumerate(texts.texts)}
    met = set()
    for seed in range(20):
        train, held = hold_out(texts, 0.3, seed)
        assert len(held) == 3
        assert max(held) < len(SENTENCES)
        assert not set(train) & set(held)
        for phrase, where in {
            "warm and funny": ["a warm and funny film"],
            "joke lands": ["not one joke lands"],
            "a film": ["it is a film"],
            "dull": ["the plot is dull", "funny film , dull plot"],
            "funny film": ["a warm and funny film", "funny film , dull plot"],
        }.items():
            gone = all(rows[sentence] in held for sentence in where)
            assert (rows[phrase] not in train) == gone
            met.add((phrase, gone))
        check_hold_out(texts, 0.3, seed)
    assert {("dull", True), ("dull", False), ("joke lands", True)} <= met


def test_part_of_a_word_is_not_part_of_a_sentence():
    """ "art" is no phrase of "a party": it is a sentence of its own."""
    texts = corpus([("a party", 0), ("art", 1), ("party a", 0), ("a", 1)])
    held = {row for seed in range(20) for row in hold_out(texts, 0.3, seed)[1].tolist()}
    assert held == {0, 1, 2}


def test_a_sentence_that_occurs_twice_is_held_out_once():
    """Otherwise its copy is trained on, or it counts twice."""
    texts = corpus([("a dull film", 0), ("a warm film", 1), ("a dull film", 1)])
    for seed in range(8):
        train, held = hold_out(texts, 0.5, seed)
        assert (train.tolist(), held.tolist()) in (([0, 2], [1]), ([1], [0]))


@settings(max_examples=80)
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=1, max_size=14),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32 - 1),
)
def test_what_is_held_out_agrees_with_comparing_every_pair(texts, share, seed):
    """Otherwise some text leaks in a corpus that the examples here do not cover."""
    check_hold_out(of_tokens(texts), share, seed)


def test_a_phrase_that_begins_another_is_found_where_only_it_stands():
    """Texts that begin alike are looked up together: "a b" is part of "x a b d" although the
    longer "a b c" is not, and neither is "a b'", which begins with the same letters."""
    texts = of_tokens([["x", "a", "b", "d"], ["a", "b", "c"], ["a", "b"], ["a", "b'"], ["a"]])
    for seed in range(8):
        check_hold_out(texts, 0.3, seed)


def test_a_long_text_is_no_obstacle():
    """Looking at every part of 2,000 words takes more than any machine has. All words are one
    here, as are the beginnings of all texts, or all words differ."""
    same = [["a"] * length for length in (2000, *range(1, 1000))]
    differ = [f"w{i}" for i in range(2000)]
    parts = [
        differ[start : start + length] for start in range(0, 1800, 9) for length in (1, 99)
    ]
    for sentences in ([same[0]], [differ]):
        rest = same[1:] if sentences[0] is same[0] else parts
        texts = of_tokens([["x"], *sentences, *rest])
        seen = set()
        for seed in range(6):
            train, held = hold_out(texts, 0.5, seed)
            seen.add((tuple(held), len(train)))
        assert seen == {((0,), len(texts) - 1), ((1,), 1)}


def test_what_is_held_out_is_drawn_by_the_seed():
    """Runs could not be repeated, or all seeds would choose by the same sentences."""
    texts = corpus(SENTENCES + PHRASES)
    draws = [tuple(hold_out(texts, 0.3, seed)[1].tolist()) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) >= 4
