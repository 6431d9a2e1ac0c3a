"""Judges texts as they are typed, with a trained classifier.

    python -m mocanet_jax.chat                         # the model that comes with the package
    python -m mocanet_jax.chat --workdir=runs/sst2
    echo "a fine film" | python -m mocanet_jax.chat --workdir=runs/sst2
    python -m mocanet_jax.chat --workdir=runs/sst2 --format=json < texts.txt

With --format=json every line of input is a text and is answered with one line of JSON.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from mocanet_jax import cli
from mocanet_jax.report import answers
from mocanet_jax.report.answers import shown
from mocanet_jax.runtime import backend, compilation_cache, streams
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path

if TYPE_CHECKING:
    from mocanet_jax.inference.predictor import TextPredictor

PROMPT = "> "
HISTORY_LENGTH = 1000
TEXT, ALONE, WITH_ARGUMENT = "", ("help", "stats", "quit", "exit"), ("explain", "batch")


class Session:
    """Answers lines of text and keeps count.

    last: the text judged last, if any. counts: answers by class. seconds: of each answer.
    """

    def __init__(self, predictor: TextPredictor):
        self.predictor = predictor
        self.last: str | None = None
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []

    def respond(self, line: str) -> Iterator[str]:
        """The lines that answer one line, a text or a command."""
        command, argument = parse(line)
        if command == TEXT:
            yield from self._answer(argument)
        elif command == "explain":
            yield from self._explain(argument)
        elif command == "batch":
            yield from self._batch(argument)
        elif command == "stats":
            yield from answers.model(self.predictor)
            yield f"this session         {answers.counted(self.counts, self.predictor.classes)}"
            yield f"answer time          {answers.timing(self.seconds)}"
        else:
            yield from answers.usage(self.predictor.classes)

    def judge(self, text: str):
        """The prediction, counted and timed; None for a text without a word."""
        started = time.perf_counter()
        prediction = self.predictor.predict(text)
        if prediction is not None:
            self.seconds.append(time.perf_counter() - started)
            self.counts[self.predictor.classes[prediction.predicted]] += 1
        return prediction

    def _answer(self, text):
        prediction = self.judge(text)
        if prediction is None:
            yield f"{answers.NO_WORD}: type a text, or help"
            return
        self.last = text
        yield from answers.lines(prediction, self.predictor.classes)

    def _explain(self, text):
        if text:
            yield from self._answer(text)
            if self.last != text:
                return
        if self.last is None:
            yield "nothing to explain yet: type a text first, or explain TEXT"
            return
        explained = self.predictor.explain(self.last)
        yield from answers.explanation(explained, self.predictor.classes)

    def _batch(self, name):
        if not name:
            yield "batch needs a file: batch FILE"
            return
        try:
            path = local_path(os.path.expanduser(name))
            texts = self.predictor.task.texts_in(path)
            texts = read_texts(path) if texts is None else texts
        except (OSError, ValueError, UserError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            yield (
                f"{shown(name, 200)} cannot be read: {reason} "
                "(to judge the line as a text, put a backslash before it)"
            )
            return
        counts, answered = Counter(self.counts), len(self.seconds)
        for text in texts:
            prediction = self.judge(text)
            if prediction is not None:
                yield answers.batch_line(text, prediction, self.predictor.classes)
        seconds = self.seconds[answered:]
        empty = len(texts) - len(seconds)
        skipped = f"; {empty:,} without a word" if empty else ""
        judged = answers.counted(self.counts - counts, self.predictor.classes)
        yield f"{judged}{skipped}; {answers.timing(seconds)}"


def parse(line: str) -> tuple[str, str]:
    """A command and its argument, or TEXT and the text."""
    text = line.strip()
    if text.startswith("\\"):
        return TEXT, text[1:]
    if text in ALONE:
        return text, ""
    word, *rest = text.split(None, 1) or [""]
    if word in WITH_ARGUMENT:
        return word, "".join(rest)
    return TEXT, text


def read_texts(path: Path) -> list[str]:
    """Lines of a file, or the column `sentence` of a table (tasks/text/tables.py). Raises
    OSError or ValueError for what is not a readable file."""
    from mocanet_jax.tasks.text import tables

    if path.exists() and not path.is_file():
        raise OSError("not a regular file")
    text = tables.decoded(path.read_bytes(), errors="replace")
    if found := tables.table(text):
        place = found.names.index(tables.SENTENCE)
        return ["".join(row[place : place + 1]) for _, row in found.rows]
    return text.removesuffix("\n").split("\n") if text else []


def chat(workdir: Path, form: str) -> None:
    """Answers standard input, line by line, until it ends; form: "text" or "json"."""
    workdir = cli.run_or_shipped(workdir)
    terminal = form == "text" and _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    if terminal:
        print(f"loading {shown(str(workdir))} ...", flush=True)
    session = Session(_load(workdir))
    if form == "json":
        for text in _piped():
            prediction = session.judge(text)
            classes, key = session.predictor.classes, session.predictor.task.answer_name
            print(answers.as_json(text, prediction, classes, key), flush=True)
    elif terminal:
        accuracy = session.predictor.validation["accuracy"]
        print(f"validation accuracy {accuracy:.1%}; type a text, or help")
        with history():
            _converse(session, _typed(), stoppable=True)
    else:
        _converse(session, _piped(), stoppable=False)


def _load(workdir):
    backend.start()
    compilation_cache.enable()
    from mocanet_jax.inference.predictor import TextPredictor

    predictor = TextPredictor(workdir)
    predictor.predict("compiles the program for texts of usual length")
    return predictor


def _converse(session, lines: Iterable[str], stoppable: bool) -> None:
    """stoppable: an interrupt ends one answer, not the chat."""
    for line in lines:
        if parse(line)[0] in ("quit", "exit"):
            return
        try:
            for reply in session.respond(line):
                print(reply, flush=True)
        except KeyboardInterrupt:
            if not stoppable:
                raise
            print("\nstopped")


def _typed():
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return


def _piped():
    for line in sys.stdin or ():
        yield line.removesuffix("\n").removesuffix("\r")


def _is_terminal(stream):
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def history():
    """Line editing, with the lines of earlier chats; they are kept in mocanet_jax/chat_history
    of the user's state folder."""
    try:
        import readline
    except ImportError:
        yield
        return
    readline.set_history_length(HISTORY_LENGTH)
    path = None
    try:
        path = compilation_cache.user_folder("XDG_STATE_HOME", ".local/state") / "chat_history"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        readline.read_history_file(path)
    except OSError as error:
        print(f"lines are not kept for the next chat: {error}")
        path = None
    try:
        yield
    finally:
        if path:
            with contextlib.suppress(OSError):
                readline.write_history_file(path)


def main() -> None:
    streams.accept_anything()
    try:
        chat(local_path(flags.FLAGS.workdir), flags.FLAGS.format)
    except KeyboardInterrupt:
        cli.leave("", 130)
    except BrokenPipeError:
        cli.discard_output()  # whoever read has seen enough
    except OSError as error:
        cli.discard_output()
        raise UserError(f"input or output failed: {error}") from error


if __name__ == "__main__":
    flags.DEFINE_string("workdir", "runs/sst2", "A training run of a text classifier.")
    flags.DEFINE_enum("format", "text", ["text", "json"], "What answers look like.")
    cli.run(main, outlives_reader=False)
