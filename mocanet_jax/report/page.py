"""What the page of demo.py answers, as fragments of HTML; it is laid out in demo_page.py."""

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread

from mocanet_jax.inference.copying import CopyPredictor, is_finished, train_copy
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.report import memory_walk, word_table
from mocanet_jax.report.answers import NO_WORD
from mocanet_jax.report.pictures import percent
from mocanet_jax.report.sequence import example_of, memory_views
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train.monitor import Silent

LONGEST = 40
"""Symbols of a sequence that is copied; a picture of more cannot be read."""

POLL = 0.4
"""Seconds between two looks at a training run."""


def note(line: str) -> str:
    return f'<div class="moca"><div class="note">{html.escape(line)}</div></div>'


def highest_multiplier(layer: LayerConfig | None) -> float:
    """λ at which every gate is closed; 0 for a model without gates."""
    return layer.max_multiplier if layer is not None and layer.dynamic else 0.0


class TextAnswers:
    """Of a classifier at any λ, one after another, so that a program is compiled once."""

    def __init__(self, predictor: TextPredictor):
        self.predictor, self._lock = predictor, Lock()
        self.multiplier = float(predictor.trained.multiplier)
        self.highest = highest_multiplier(predictor.model.layer)

    def answer(self, text: str, multiplier: float) -> str:
        """multiplier: λ, in logits."""
        with self._lock:
            started = time.perf_counter()
            explained = self.predictor.with_multiplier(multiplier).explain(text)
            seconds = time.perf_counter() - started
        if explained is None:
            return note(f"type a text: {NO_WORD}")
        return word_table.answer(explained, self.predictor.classes, multiplier, seconds)


class CopyAnswers:
    """Of a copy model in `workdir`, which is trained there on first use.

    predictor: None before.
    """

    def __init__(self, workdir: Path):
        self.workdir, self._lock = workdir, Lock()
        self.predictor: CopyPredictor | None = None
        self._training: Training | None = None

    @property
    def is_trained(self) -> bool:
        return self.predictor is not None or is_finished(self.workdir)

    @property
    def highest(self) -> float:
        return highest_multiplier(self.predictor.model.layer)

    def answers(self, text: str, multiplier: float | None = None) -> Iterator[str]:
        """The last is the answer; those before it tell how training goes on. multiplier: λ, in
        logits; None for that of training."""
        try:
            payload = symbols(text)
            if self.predictor is None:
                yield from self._prepared()
            yield self._copied(payload, multiplier)
        except UserError as error:
            yield note(str(error))

    def _prepared(self) -> Iterator[str]:
        """Loads the model, and trains it where it is not there."""
        if not self.is_trained:
            with self._lock:
                if self._training is None or not self._training.thread.is_alive():
                    self._training = Training(self.workdir)
                training = self._training
            while training.thread.is_alive():
                yield training.shown()
                training.thread.join(POLL)
            if training.error is not None:
                raise training.error
        yield note("loading the model ...")
        with self._lock:
            if self.predictor is None:
                predictor = CopyPredictor(self.workdir)
                predictor.copy([1])  # compiles, so that answers tell their own time
                self.predictor = predictor

    def _copied(self, payload, multiplier):
        predictor = self.predictor
        multiplier = predictor.multiplier if multiplier is None else multiplier
        with self._lock:
            started = time.perf_counter()
            copied = predictor.copy(payload, multiplier)
            seconds = time.perf_counter() - started
        example = example_of(predictor.task, copied.batch, copied.logits, copied.layers)
        views = list(memory_views(predictor.model.layer, example).values())
        numbers = word_table.numbers(copied.usage, multiplier, seconds)
        return memory_walk.walk(views, example.sequence, symbol_name, numbers)


class Training(Silent):
    """A copy model's. thread: in which it goes on, from now on. error: what ended it, if it
    failed."""

    def __init__(self, workdir: Path):
        self.error: UserError | None = None
        self._workdir, self._started = workdir, time.monotonic()
        self._line, self._share = "getting ready", 0.0
        self.thread = Thread(target=self._train, daemon=True)
        self.thread.start()

    def _train(self):
        try:
            train_copy(self._workdir, self)
        except Exception as error:
            self.error = error if isinstance(error, UserError) else UserError(str(error))

    def note(self, line: str) -> None:
        self._line = line

    @contextmanager
    def training(self, start: int, max_steps: int):
        self._most = max_steps
        yield

    def update(self, step: int, metrics: dict[str, float]) -> None:
        self._share = step / self._most
        self._line = (
            f"step {step} of at most {self._most}: {metrics['accuracy']:.0%} of symbols right, "
            f"of up to {metrics['longest']:.0f}; usage {percent(metrics['usage'])}"
        )

    def shown(self) -> str:
        """How far it is."""
        seconds = time.monotonic() - self._started
        return (
            '<div class="moca"><h3>training a copy model</h3>'
            f'<div class="note">once; it is kept in {html.escape(str(self._workdir))}</div>'
            f'<progress value="{self._share:.3f}" style="width:100%"></progress>'
            f'<div class="note">{seconds:.0f} s: {html.escape(self._line)}</div></div>'
        )


def symbols(text: str) -> list[int]:
    """Of a text: the codes of its characters. Raises UserError for one that has none in the
    task."""
    payload = [ord(character) for character in text.strip()]
    strange = [chr(code) for code in payload if not ord(" ") <= code <= ord("}")]
    if strange:
        raise UserError(f"letters, digits and signs of ASCII can be copied, not {strange[0]!r}")
    if not 1 <= len(payload) <= LONGEST:
        raise UserError(f"type 1 to {LONGEST} characters to copy, not {len(payload)}")
    return payload


def symbol_name(symbol: int) -> str:
    """What a symbol is shown as."""
    if symbol == ord(" "):
        return "␣"
    return chr(symbol) if ord("!") <= symbol <= ord("}") else str(symbol)
