"""Where the chat reads from: pipes, terminals and their history, and the process as a whole."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mocanet_jax import chat
from tests.cli.fake_chat import Fake
from tests.processes import python

ROOT = Path(__file__).parents[2]


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
    """Otherwise a script cannot request an explanation, or prompts are mixed with answers."""
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
    """A stand-in for the module that records its calls."""
    calls = []
    module = SimpleNamespace(
        set_history_length=lambda n: calls.append(("length", n)),
        read_history_file=lambda path: calls.append(("read", path)),
        write_history_file=lambda path: calls.append(("write", path)),
        calls=calls,
    )
    monkeypatch.setitem(sys.modules, "readline", module)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return module


def test_history_is_kept_in_the_state_folder_even_when_interrupted(readline, tmp_path, capsys):
    """Otherwise lines are lost with Ctrl-C, or others on the machine can read them."""
    with pytest.raises(KeyboardInterrupt), chat.history():
        raise KeyboardInterrupt
    path = tmp_path / "state" / "mocanet_jax" / "chat_history"
    assert readline.calls == [("length", 1000), ("read", path), ("write", path)]
    assert path.stat().st_mode & 0o077 == 0
    assert capsys.readouterr().out == ""


def test_a_history_that_cannot_be_kept_is_reported_once(readline, tmp_path, capsys):
    """Otherwise a full or foreign home folder makes the chat unusable."""
    (tmp_path / "state").write_text("a file")
    with chat.history():
        print("chatting")
    notice, after = capsys.readouterr().out.splitlines()
    assert notice.startswith("lines are not kept for the next chat: ")
    assert after == "chatting"
    assert [name for name, _ in readline.calls] == ["length"]


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


STAND_IN = """
import signal
import sys
from types import SimpleNamespace
from mocanet_jax import chat, cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind "&"
answer = SimpleNamespace(words=["é"], known=[False], cut=0, probabilities=[0.2, 0.8],
                         predicted=1, confidence=0.8)
chat._load = lambda workdir: SimpleNamespace(classes=("negative", "positive"),
                                             predict=lambda text: answer,
                                             task=SimpleNamespace(answer_name="sentiment"))
chat.flags.DEFINE_string("workdir", "run", "")
chat.flags.DEFINE_string("format", "text", "")
cli.run(chat.main, outlives_reader=False)
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
def test_output_that_fails_is_reported_in_one_line():
    """Otherwise a full disk looks like a fault of the program."""
    with open("/dev/full", "wb") as full, process(stdout=full) as running:
        _, err = running.communicate(b"good film\n")
    assert running.returncode == 2
    assert err == b"error: input or output failed: [Errno 28] No space left on device\n"


@pytest.mark.integration
def test_a_directory_without_a_model_exits_with_2(tmp_path):
    """Otherwise a mistyped --workdir ends in a traceback."""
    done = python(
        *("-m", "mocanet_jax.chat", "--workdir=none"),
        cwd=tmp_path,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
        input="good film\n",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no trained model in none: train first")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()
