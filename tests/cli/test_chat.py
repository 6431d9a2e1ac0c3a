"""What the chat answers: every line is, whatever it holds, and only commands are obeyed."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax import chat
from mocanet_jax.inference.predictor import Explanation, Prediction
from mocanet_jax.report import answers
from tests.cli.fake_chat import CLASSES, READ, Fake, prediction


@pytest.fixture
def session():
    return chat.Session(Fake())


def replies(session, line):
    return list(session.respond(line))


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("help", ("help", "")),
        ("  stats \t", ("stats", "")),
        ("quit", ("quit", "")),
        ("exit", ("exit", "")),
        ("explain", ("explain", "")),
        ("explain a good film", ("explain", "a good film")),
        ("batch my file.txt", ("batch", "my file.txt")),
        ("batch", ("batch", "")),
        ("help me", ("", "help me")),
        ("quit while you can", ("", "quit while you can")),
        ("Help", ("", "Help")),
        ("explained", ("", "explained")),
        ("batches of films", ("", "batches of films")),
        (r"\help", ("", "help")),
        (r"\explain nothing", ("", "explain nothing")),
        (r"\\help", ("", r"\help")),
        ("", ("", "")),
        ("\\", ("", "")),
    ],
)
def test_a_line_is_a_command_only_in_its_exact_form(line, parsed):
    """Otherwise a review that begins like a command is obeyed, or "help" cannot be judged."""
    assert chat.parse(line) == parsed


def test_a_text_gets_its_class_level_and_every_probability(session):
    """Otherwise the answer hides how sure it is."""
    expected = "positive, high confidence (negative 5.0%, positive 95.0%)"
    assert replies(session, "good film") == [expected]
    assert replies(session, "dull film")[0].startswith(
        "negative, high confidence (negative 90.0%"
    )


@pytest.mark.parametrize(
    ("confidence", "level"),
    [
        (1.0, "high"),
        (0.9, "high"),
        (0.8999, "medium"),
        (0.7, "medium"),
        (0.6999, "low"),
        (0.5, "low"),
    ],
)
def test_levels_begin_where_help_says(session, confidence, level):
    """Otherwise "high" means something else than the documented share of right answers."""
    assert answers.level(confidence) == level
    assert "high from 90%, medium from 70% and low below" in " ".join(replies(session, "help"))


def test_words_that_training_never_met_are_listed_once(session):
    """Otherwise nobody sees that an answer rests on spelling alone."""
    lines = replies(session, "good zorg and zorg")
    assert lines[1:] == ["  not met in training: zorg, and"]
    many = replies(session, "good " + " ".join(f"x{i}" for i in range(20)))
    assert many[1].endswith("x7 and 12 more")


def test_a_text_that_was_cut_says_so(session):
    """Otherwise the end of a long text seems to have been judged."""
    lines = replies(session, "good " * (READ + 1000))
    assert lines[-1] == "  only the first 50 words were read, 1,000 were not"


@pytest.mark.parametrize("line", ["", "   ", "\\", "\x00", "\u200b", "<br>"])
def test_a_line_without_a_word_gets_one_line_of_help(session, line):
    """Otherwise it is judged, or the chat falls over."""
    assert replies(session, line) == ["there is no word in it: type a text, or help"]
    assert session.last is None
    assert session.seconds == []


def test_explain_needs_a_text_and_then_explains_the_last(session):
    """Otherwise it explains something else than what was just answered."""
    assert replies(session, "explain") == [
        "nothing to explain yet: type a text first, or explain TEXT"
    ]
    replies(session, "good film")
    replies(session, "")
    lines = replies(session, "explain")
    assert [line.split() for line in lines[:3]] == [
        ["word", "points", "experts", "slots"],
        ["good", "+30.0", "++++++++++", "3", "0", "10", "7"],
        ["film", "-10.0", "---", "3", "1", "10", "8"],
    ]
    assert lines[3] == "points: what the probability of positive loses when the word is masked."


def test_explain_with_a_text_answers_it_first(session):
    """Otherwise the explanation is of a decision that was never shown."""
    lines = replies(session, "explain dull film")
    assert lines[0].startswith("negative, high confidence")
    assert "probability of negative" in "".join(lines)
    assert replies(session, "explain") == lines[1:]
    assert len(session.seconds) == 1


def test_explain_without_a_word_explains_nothing(session):
    """Otherwise the last text is explained under the name of this one."""
    replies(session, "good film")
    assert replies(session, "explain <br>") == ["there is no word in it: type a text, or help"]


def test_a_model_without_memory_and_experts_explains_words_alone():
    """Otherwise an ablation cannot be looked at."""
    explained = Explanation(prediction(), np.array([0.0]), *[None] * 4)
    lines = list(answers.explanation(explained, CLASSES))
    assert [line.split() for line in lines[:2]] == [["word", "points"], ["good", "+0.0"]]
    assert len(lines) == 3


def test_several_experts_and_heads_stand_together():
    """Otherwise entries of one layer read like those of several."""
    experts, slots = np.array([[[1, 2]], [[0, 3]]]), np.array([[[15, 4]], [[6, 7]]])
    explained = Explanation(prediction(), np.array([0.2]), experts, slots, None, None)
    assert list(answers.explanation(explained, CLASSES))[1].split()[3:] == [
        "1+2",
        "0+3",
        "15+4",
        "6+7",
    ]


def test_of_a_long_text_the_strongest_words_are_explained_in_reading_order():
    """Otherwise the screen fills with words without influence."""
    words = [f"w{i}" for i in range(100)]
    influence = np.where(np.arange(100) % 3 == 0, 0.1, 0.001)
    explained = Explanation(prediction(words=words), influence, *[None] * 4)
    lines = list(answers.explanation(explained, CLASSES))
    shown = [line.split()[0] for line in lines[1:41]]
    assert shown == sorted(shown, key=words.index)
    assert set(words[::3]) <= set(shown)
    assert lines[41] == "The 40 of 100 words that moved the decision most."


def test_stats_show_the_model_and_count_this_session(session):
    """Otherwise nobody knows which checkpoint answered, or how fast."""
    assert replies(session, "stats")[-2:] == [
        "this session         0 texts: 0 negative, 0 positive",
        "answer time          no answer yet",
    ]
    for line in ("good film", "fine film", "dull film", "", "explain zo"):
        replies(session, line)
    session.seconds[:] = [0.001] * 19 + [0.021]
    assert replies(session, "stats") == [
        "checkpoint           step 1,800",
        "validation accuracy  84.32%",
        "calibration          expected error 0.0213, temperature 1.250",
        "vocabulary           5 words",
        "this session         4 texts: 1 negative, 3 positive",
        "answer time          2.0 ms a text, 95 % within 1.0 ms",
    ]


def test_every_line_of_a_file_is_judged(session, tmp_path):
    """Otherwise lines are lost or merged, or the file's spelling of line ends is judged."""
    path = tmp_path / "some texts.txt"
    path.write_bytes(b"\xef\xbb\xbfgood film\r\n\r\ndull \xff\tfilm\r\nfine")
    lines = replies(session, f"batch {path}")
    assert lines[:3] == [
        "positive   95.0%  high    good film",
        "negative   90.0%  high    dull \ufffd\\tfilm",
        "positive   80.0%  medium  fine",
    ]
    assert lines[3].startswith("3 texts: 1 negative, 2 positive; 1 without a word; ")
    assert len(lines) == 4
    assert (session.last, session.counts.total()) == (None, 3)


def test_of_a_table_the_column_of_sentences_is_judged(session, tmp_path):
    """Otherwise labels are read as words, or the header as a text."""
    path = tmp_path / "dev.tsv"
    path.write_text("sentence\tlabel\ngood film\t0\ndull film\t1\n")
    lines = replies(session, f"batch {path}")
    assert lines[0] == "positive   95.0%  high    good film"
    assert lines[2].startswith("2 texts: 1 negative, 1 positive; ")


def test_a_batch_counts_only_its_own_texts(session, tmp_path):
    """Otherwise its summary mixes the file with what was typed before."""
    (tmp_path / "one").write_text("good")
    replies(session, "dull film")
    assert replies(session, f"batch {tmp_path / 'one'}")[-1].startswith(
        "1 text: 0 negative, 1 pos"
    )
    (tmp_path / "none").write_text("")
    assert replies(session, f"batch {tmp_path / 'none'}") == [
        "0 texts: 0 negative, 0 positive; no answer yet"
    ]


@pytest.mark.parametrize(
    "name", ["none.txt", ".", "a\x00b", "/dev/zero", "x" * 5000, "\x1b[2J"]
)
def test_a_file_that_cannot_be_read_is_one_line(session, tmp_path, monkeypatch, name):
    """Otherwise a slip ends the chat, or a device is read for ever."""
    monkeypatch.chdir(tmp_path)
    (line,) = replies(session, f"batch {name}")
    assert " cannot be read: " in line
    assert "backslash" in line
    assert line.isprintable()
    assert len(line) < 400
    assert replies(session, "batch") == ["batch needs a file: batch FILE"]


ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
HOSTILE = st.one_of(
    ANYTHING,
    ANYTHING.map(lambda text: f"explain {text}"),
    ANYTHING.map(lambda text: f"good [bold]{text}\x1b]0;title\x07[/bold]"),
    st.sampled_from(
        ["\ud800 \udfff", "good\x00film", "\x9b31mgood", "good \u202e mlif", "[/]"]
    ),
)


@settings(max_examples=200)
@given(HOSTILE)
def test_nothing_that_steers_a_terminal_is_shown(text):
    """Otherwise a pasted text recolours, retitles or rewrites the screen."""
    session = chat.Session(Fake())
    lines = [*replies(session, text), *replies(session, "explain"), *replies(session, "stats")]
    said_of = session.predictor.predict(text)
    if said_of is not None:
        lines.append(answers.batch_line(text, said_of, CLASSES))
    assert all(line.isprintable() for line in lines)


def test_what_is_unprintable_is_shown_escaped():
    """Otherwise a text with control characters looks like one without."""
    assert answers.shown("a\x1b[1m\u202eb\ud800\n") == r"a\x1b[1m\u202eb\ud800\n"
    assert answers.shown("[bold]é 要[/bold]") == "[bold]é 要[/bold]"
    assert answers.shown("a" * 61, 60) == "a" * 57 + "..."
    assert len(answers.shown("\x00" * 50, 60)) == 60


@settings(max_examples=200)
@given(HOSTILE)
def test_json_is_one_ascii_object_whatever_the_text(text):
    """Otherwise a reader of lines loses step with the texts."""
    line = answers.as_json(text, Fake().predict(text), CLASSES)
    assert line.isascii()
    assert line.isprintable()
    answer = json.loads(line)
    assert answer["text"] == text
    if answer["sentiment"] is None:
        assert set(answer) == {"text", "sentiment", "error"}
    else:
        assert answer["confidence"] == answer["probabilities"][answer["sentiment"]]


TOPICS = ("billing", "delivery", "[b]fault", "other\x1b[2J", "praise", "sales", "theft")
GUESS = Prediction(["so"], 0, [True], np.array([0.05, 0.6, 0.2, 0.1, 0.03, 0.015, 0.005]))


def test_of_many_labels_the_likeliest_are_answered_by_name():
    """The label of a file is a name of somebody's own, which must not steer a terminal."""
    assert [*answers.lines(GUESS, TOPICS)] == [
        "delivery, low confidence (delivery 60.0%, [b]fault 20.0%, other\\x1b[2J 10.0%, "
        "billing 5.0%, praise 3.0%, 2 more 2.0%)"
    ]
    three = Prediction(["so"], 0, [True], np.array([0.1, 0.2, 0.7]))
    assert [*answers.lines(three, TOPICS[:3])] == [
        "[b]fault, medium confidence ([b]fault 70.0%, delivery 20.0%, billing 10.0%)"
    ]
    assert answers.batch_line("so", GUESS, TOPICS) == "delivery       60.0%  low     so"
    answer = json.loads(answers.as_json("so", GUESS, TOPICS, "label"))
    assert answer["label"] == "delivery"
    assert answer["probabilities"] == dict(
        zip(TOPICS, GUESS.probabilities.tolist(), strict=True)
    )
    assert json.loads(answers.as_json("", None, TOPICS, "label"))["label"] is None


def test_help_and_counts_name_the_labels():
    """Otherwise nobody knows what can be answered; and a hundred zeros are no count."""
    lines = answers.usage(TOPICS)
    assert lines[0].startswith(
        "Type a text and press Enter: it is called one of 7 labels, with"
    )
    assert lines[-1].startswith("labels: billing, delivery, [b]fault, other\\x1b[2J, praise")
    met = Counter({name: 9 - i for i, name in enumerate(TOPICS)})
    assert answers.counted(met, TOPICS).endswith("6 other\\x1b[2J, 5 praise, 7 of other labels")
    assert answers.counted(Counter(billing=1), TOPICS) == "1 text: 1 billing"


def test_json_holds_the_documented_keys():
    """Otherwise scripts that rely on docs/guides/chat.md break."""
    answer = json.loads(
        answers.as_json("t", prediction(0.75, ["good", "zo", "zo"], [1, 0, 0], 4), CLASSES)
    )
    assert answer == {
        "text": "t",
        "sentiment": "positive",
        "confidence": 0.75,
        "level": "medium",
        "probabilities": {"negative": 0.25, "positive": 0.75},
        "unknown_words": ["zo"],
        "cut_words": 4,
    }
