"""The chat: every line is answered, whatever it holds, and only commands are obeyed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax import answers, chat, compilation_cache
from mocanet_jax.tasks.tokenizer import tokenize
from mocanet_jax.training.predictor import Explanation, Prediction

ROOT = Path(__file__).parent.parent
CLASSES = ("negative", "positive")
READ = 50
KNOWN = {"a": 0.5, "good": 0.95, "fine": 0.8, "film": 0.5, "dull": 0.1}


def prediction(positive=0.95, words=("good",), known=None, cut=0):
    known = [True] * len(words) if known is None else known
    return Prediction(list(words), cut, known, np.array([1 - positive, positive]))


class Fake:
    """Answers as TextPredictor does: the first word decides, the rest is shown."""

    classes, step, temperature = CLASSES, 1800, 1.25
    validation: dict = {"accuracy": 0.8432, "ece": 0.0213}  # noqa: RUF012
    task = SimpleNamespace(vocabulary=SimpleNamespace(words=tuple(KNOWN)))

    def predict(self, text):
        words = tokenize(text)
        if not words:
            return None
        read = words[:READ]
        known = [word in KNOWN for word in read]
        return prediction(KNOWN.get(words[0], 0.6), read, known, len(words) - len(read))

    def explain(self, text):
        said = self.predict(text)
        count = len(said.words)
        influence = np.linspace(0.3, -0.1, count)
        experts = np.stack([np.full((count, 1), 3), np.arange(count)[:, None]])
        return Explanation(said, influence, experts, 7 + experts)


@pytest.fixture
def session():
    return chat.Session(Fake())


def said(session, line):
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
    assert said(session, "good film") == [expected]
    assert said(session, "dull film")[0].startswith("negative, high confidence (negative 90.0%")


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
    assert "high from 90%, medium from 70% and low below" in " ".join(said(session, "help"))


def test_words_that_training_never_met_are_listed_once(session):
    """Otherwise nobody sees that an answer rests on spelling alone."""
    lines = said(session, "good zorg and zorg")
    assert lines[1:] == ["  not met in training: zorg, and"]
    many = said(session, "good " + " ".join(f"x{i}" for i in range(20)))
    assert many[1].endswith("x7 and 12 more")


def test_a_text_that_was_cut_says_so(session):
    """Otherwise the end of a long text seems to have been judged."""
    lines = said(session, "good " * (READ + 1000))
    assert lines[-1] == "  only the first 50 words were read, 1,000 were not"


@pytest.mark.parametrize("line", ["", "   ", "\\", "\x00", "\u200b", "<br>"])
def test_a_line_without_a_word_gets_one_line_of_help(session, line):
    """Otherwise it is judged, or the chat falls over."""
    assert said(session, line) == ["there is no word in it: type a text, or help"]
    assert session.last is None
    assert session.seconds == []


def test_explain_needs_a_text_and_then_explains_the_last(session):
    """Otherwise it explains something else than what was just answered."""
    assert said(session, "explain") == [
        "nothing to explain yet: type a text first, or explain TEXT"
    ]
    said(session, "good film")
    said(session, "")
    lines = said(session, "explain")
    assert [line.split() for line in lines[:3]] == [
        ["word", "points", "experts", "slots"],
        ["good", "+30.0", "++++++++++", "3", "0", "10", "7"],
        ["film", "-10.0", "---", "3", "1", "10", "8"],
    ]
    assert lines[3] == "points: what the probability of positive loses when the word is masked."


def test_explain_with_a_text_answers_it_first(session):
    """Otherwise the explanation is of a decision that was never shown."""
    lines = said(session, "explain dull film")
    assert lines[0].startswith("negative, high confidence")
    assert "probability of negative" in "".join(lines)
    assert said(session, "explain") == lines[1:]
    assert len(session.seconds) == 1


def test_explain_without_a_word_explains_nothing(session):
    """Otherwise the last text is explained under the name of this one."""
    said(session, "good film")
    assert said(session, "explain <br>") == ["there is no word in it: type a text, or help"]


def test_a_model_without_memory_and_experts_explains_words_alone():
    """Otherwise an ablation cannot be looked at."""
    explained = Explanation(prediction(), np.array([0.0]), None, None)
    lines = list(answers.explanation(explained, CLASSES))
    assert [line.split() for line in lines[:2]] == [["word", "points"], ["good", "+0.0"]]
    assert len(lines) == 3


def test_several_experts_and_heads_stand_together():
    """Otherwise entries of one layer read like those of several."""
    experts, slots = np.array([[[1, 2]], [[0, 3]]]), np.array([[[15, 4]], [[6, 7]]])
    explained = Explanation(prediction(), np.array([0.2]), experts, slots)
    assert list(answers.explanation(explained, CLASSES))[1].split()[3:] == [
        "1+2",
        "0+3",
        "15+4",
        "6+7",
    ]


def test_of_a_long_text_the_strongest_words_are_explained_in_reading_order():
    """Otherwise the screen fills with words that did nothing."""
    words = [f"w{i}" for i in range(100)]
    influence = np.where(np.arange(100) % 3 == 0, 0.1, 0.001)
    explained = Explanation(prediction(words=words), influence, None, None)
    lines = list(answers.explanation(explained, CLASSES))
    shown = [line.split()[0] for line in lines[1:41]]
    assert shown == sorted(shown, key=words.index)
    assert set(words[::3]) <= set(shown)
    assert lines[41] == "The 40 of 100 words that moved the decision most."


def test_stats_show_the_model_and_count_this_session(session):
    """Otherwise nobody knows which checkpoint answered, or how fast."""
    assert said(session, "stats")[-2:] == [
        "this session         0 texts: 0 negative, 0 positive",
        "answer time          no answer yet",
    ]
    for line in ("good film", "fine film", "dull film", "", "explain zo"):
        said(session, line)
    session.seconds[:] = [0.001] * 19 + [0.021]
    assert said(session, "stats") == [
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
    lines = said(session, f"batch {path}")
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
    lines = said(session, f"batch {path}")
    assert lines[0] == "positive   95.0%  high    good film"
    assert lines[2].startswith("2 texts: 1 negative, 1 positive; ")


def test_a_batch_counts_only_its_own_texts(session, tmp_path):
    """Otherwise its summary mixes the file with what was typed before."""
    (tmp_path / "one").write_text("good")
    said(session, "dull film")
    assert said(session, f"batch {tmp_path / 'one'}")[-1].startswith(
        "1 text: 0 negative, 1 pos"
    )
    (tmp_path / "none").write_text("")
    assert said(session, f"batch {tmp_path / 'none'}") == [
        "0 texts: 0 negative, 0 positive; no answer yet"
    ]


@pytest.mark.parametrize(
    "name", ["none.txt", ".", "a\x00b", "/dev/zero", "x" * 5000, "\x1b[2J"]
)
def test_a_file_that_cannot_be_read_is_one_line(session, tmp_path, monkeypatch, name):
    """Otherwise a slip ends the chat, or a device is read for ever."""
    monkeypatch.chdir(tmp_path)
    (line,) = said(session, f"batch {name}")
    assert " cannot be read: " in line
    assert "backslash" in line
    assert line.isprintable()
    assert len(line) < 400
    assert said(session, "batch") == ["batch needs a file: batch FILE"]


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
    lines = [*said(session, text), *said(session, "explain"), *said(session, "stats")]
    said_of = session.predictor.predict(text)
    if said_of is not None:
        lines.append(answers.batch_line(text, said_of, CLASSES))
    assert all(line.isprintable() for line in lines)


def test_what_is_unprintable_is_shown_escaped():
    """Otherwise a text with control characters cannot be told from one without."""
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


def test_json_holds_the_documented_keys():
    """Otherwise scripts that rely on docs/CHAT.md break."""
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


@pytest.fixture
def piped(monkeypatch, capsys):
    """Runs the chat on bytes as a pipe brings them; returns its lines."""
    monkeypatch.setattr(chat, "_load", lambda workdir: Fake())

    def run(data, form):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        sys.stdin.reconfigure(encoding="utf-8", errors="replace", newline="\n")
        chat.chat(Path("run"), form)
        return capsys.readouterr().out.splitlines()

    return run


def test_in_json_every_line_is_a_text(piped):
    """Otherwise a line of data is obeyed, or an answer is missing."""
    data = b"help\nquit\n\nexplain a\rb\\\n\\help\r\nbad \xff\xfe\ngood film"
    texts = [json.loads(line)["text"] for line in piped(data, "json")]
    assert texts == [
        "help",
        "quit",
        "",
        "explain a\rb\\",
        "\\help",
        "bad \ufffd\ufffd",
        "good film",
    ]


def test_in_a_pipe_commands_work_and_quit_ends(piped):
    """Otherwise a script cannot ask for an explanation, or prompts are mixed with answers."""
    lines = piped(b"good film\nexplain\nquit\ndull film\n", "text")
    assert lines[0] == "positive, high confidence (negative 5.0%, positive 95.0%)"
    assert lines[1].startswith("word")
    assert not any("negative, " in line or chat.PROMPT in line for line in lines[1:])


def test_without_input_there_is_nothing_to_do(piped, monkeypatch):
    """Otherwise a process started with a closed input fails."""
    assert piped(b"", "text") == piped(b"", "json") == []
    monkeypatch.setattr(sys, "stdin", None)
    chat.chat(Path("run"), "text")


class Stopped(Fake):
    def predict(self, text):
        if "endless" in text:
            raise KeyboardInterrupt
        return super().predict(text)


def test_an_interrupt_stops_one_answer_in_a_terminal_and_a_pipe_altogether(capsys):
    """Otherwise a long explanation costs the session, or a pipeline cannot be stopped."""
    lines = ["endless", "good film"]
    chat._converse(chat.Session(Stopped()), lines, stoppable=True)
    assert capsys.readouterr().out.split("\n")[1:3] == [
        "stopped",
        "positive, high confidence (negative 5.0%, positive 95.0%)",
    ]
    with pytest.raises(KeyboardInterrupt):
        chat._converse(chat.Session(Stopped()), lines, stoppable=False)


@pytest.fixture
def readline(monkeypatch, tmp_path):
    """A stand-in for the module that remembers what it was asked."""
    asked = []
    module = SimpleNamespace(
        set_history_length=lambda n: asked.append(("length", n)),
        read_history_file=lambda path: asked.append(("read", path)),
        write_history_file=lambda path: asked.append(("write", path)),
        asked=asked,
    )
    monkeypatch.setitem(sys.modules, "readline", module)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return module


def test_history_is_kept_in_the_state_folder_even_when_interrupted(readline, tmp_path, capsys):
    """Otherwise lines are lost with Ctrl-C, or others on the machine can read them."""
    with pytest.raises(KeyboardInterrupt), chat.history():
        raise KeyboardInterrupt
    path = tmp_path / "state" / "mocanet_jax" / "chat_history"
    assert readline.asked == [("length", 1000), ("read", path), ("write", path)]
    assert path.stat().st_mode & 0o077 == 0
    assert capsys.readouterr().out == ""


def test_a_history_that_cannot_be_kept_is_told_once(readline, tmp_path, capsys):
    """Otherwise a full or foreign home folder makes the chat unusable."""
    (tmp_path / "state").write_text("a file")
    with chat.history():
        print("chatting")
    told, after = capsys.readouterr().out.splitlines()
    assert told.startswith("lines are not kept for the next chat: ")
    assert after == "chatting"
    assert [name for name, _ in readline.asked] == ["length"]


def test_a_history_that_fails_at_the_end_is_no_error(readline, monkeypatch):
    """Otherwise a chat that went well ends in a traceback."""

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(readline, "write_history_file", full)
    with chat.history():
        pass


def test_a_terminal_without_line_editing_can_chat(monkeypatch):
    """Otherwise the chat needs a module that not every Python has."""
    monkeypatch.setitem(sys.modules, "readline", None)
    with chat.history():
        pass


@pytest.fixture
def cache_settings(monkeypatch):
    """JAX's settings of the compilation cache, as they are and put back afterwards."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    monkeypatch.delenv(compilation_cache.CONFIGURED_BY, raising=False)
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield lambda: tuple(getattr(jax.config, name) for name in names)
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_the_cache_folder(cache_settings, monkeypatch, tmp_path):
    """Otherwise every chat starts with seconds of compilation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compilation_cache.enable()
    assert cache_settings() == (str(tmp_path / "mocanet_jax" / "xla"), 0, -1)
    with warnings.catch_warnings(record=True) as caught:
        compilation_cache.enable()
        warnings.warn("Error writing persistent compilation cache entry for 'f'", stacklevel=1)
    assert caught == []


@pytest.mark.parametrize("configured", ["/elsewhere", ""])
def test_the_users_own_cache_settings_stand(cache_settings, monkeypatch, tmp_path, configured):
    """Otherwise a cache that was moved or turned off comes back."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compilation_cache.CONFIGURED_BY, configured)
    before = cache_settings()
    compilation_cache.enable()
    assert cache_settings() == before
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_cannot_be_written_is_done_without(
    cache_settings, monkeypatch, tmp_path
):
    """Otherwise a read-only home folder prints tracebacks."""
    before = cache_settings()
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    compilation_cache.enable()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fine"))
    monkeypatch.setattr(compilation_cache.os, "access", lambda *_: False)
    compilation_cache.enable()
    assert cache_settings() == before


def test_folders_that_are_not_absolute_are_ignored(monkeypatch):
    """As the XDG Base Directory Specification asks; otherwise files land where one stands."""
    monkeypatch.setenv("HOME", "/home/someone")
    for named in ("here", ""):
        monkeypatch.setenv("XDG_STATE_HOME", named)
        folder = compilation_cache.user_folder("XDG_STATE_HOME", ".local/state")
        assert folder == Path("/home/someone/.local/state/mocanet_jax")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compilation_cache.Path, "home", homeless)
    with pytest.raises(OSError, match="home directory"):
        compilation_cache.user_folder("XDG_STATE_HOME", ".local/state")


STAND_IN = """
import signal
import sys
from types import SimpleNamespace
from mocanet_jax import chat, cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind "&"
said = SimpleNamespace(words=["é"], known=[False], cut=0, probabilities=[0.2, 0.8],
                       predicted=1, confidence=0.8)
chat._load = lambda workdir: SimpleNamespace(classes=("negative", "positive"),
                                             predict=lambda text: said)
chat.flags.DEFINE_string("workdir", "run", "")
chat.flags.DEFINE_string("format", "text", "")
cli.run(chat.main)
"""


@contextlib.contextmanager
def process(*arguments, **settings):
    """The real entry point around a model that takes no time to load."""
    command = [sys.executable, "-c", STAND_IN, *arguments]
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | settings
    env = os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {})
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=env, **settings) as running:
        yield running


def test_bytes_that_are_not_text_go_through_a_terminal_of_ascii():
    """Otherwise one strange byte, or a poor terminal, ends the chat with a traceback."""
    with process(env={"PYTHONIOENCODING": "ascii"}) as running:
        out, err = running.communicate(b"caf\xc3\xa9 \xff\x00\n" + b"x" * 1_000_000)
    assert (running.returncode, err) == (0, b"")
    assert out.count(b"not met in training: \\xe9") == 2
    with process("--format=json", env={"PYTHONIOENCODING": "ascii"}) as running:
        out, _ = running.communicate(b"caf\xc3\xa9 \xff\n")
    assert json.loads(out)["text"] == "café \ufffd"


def test_a_reader_that_leaves_ends_the_chat_quietly():
    """Otherwise `| head -1` prints a traceback."""
    with process() as running:
        running.stdin.write(b"good film\n")
        running.stdin.flush()
        assert running.stdout.readline().startswith(b"positive, medium confidence")
        running.stdout.close()
        running.stdin.write(b"good film\n" * 100)
        running.stdin.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_an_interrupt_exits_with_130():
    """Otherwise a script takes half of the answers for all of them."""
    with process() as running:
        running.stdin.write(b"good film\n")
        running.stdin.flush()
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(120) == 130
        assert running.stderr.read() == b"\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_fails_is_told_in_one_line():
    """Otherwise a full disk looks like a fault of the program."""
    with open("/dev/full", "wb") as full, process(stdout=full) as running:
        _, err = running.communicate(b"good film\n")
    assert running.returncode == 2
    assert err == b"error: input or output failed: [Errno 28] No space left on device\n"


def test_a_directory_without_a_model_exits_with_2(tmp_path):
    """Otherwise a mistyped --workdir ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "mocanet_jax.chat", "--workdir=none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        input="good film\n",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no trained model in none: train first")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()
