"""Text from a trained language model, token by token, at a constant cost of each.

    generator = Generator(Path("runs/tiny_shakespeare"))
    for piece in generator.stream("ROMEO:", Sampling(temperature=0.8), 500):
        print(piece, end="")

With a datastore every token is searched for on the host, and tokens are made one by one.

Axes: D width, V vocabulary.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.retrieval import mixed_logits
from mocanet_jax.evaluate.reading import evaluated_slots
from mocanet_jax.inference.datastore import opened
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.tasks.corpora.tokenizers import REPLACEMENT, Tokenizer
from mocanet_jax.train.restore import restored

BLOCK = 16
"""Tokens of one dispatch; a sequence of any length is read and written in such blocks."""

PROMPT_BLOCK = 128

UNFINISHED = 3
"""Most tokens at the end that may be the beginning of a character: of UTF-8, three bytes."""

BEFORE = 8
"""Tokens before a piece that are decoded with it, since spaces depend on them."""


class Sampling(NamedTuple):
    """temperature: divides logits; 0 takes the likeliest token always. top_k: only so many of
    the likeliest tokens, 0 for all. top_p: of those the fewest whose probabilities sum to at
    least so much, in (0, 1] (nucleus sampling, Holtzman et al., 2020)."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def check(self) -> None:
        """Raises UserError for numbers out of range."""
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature must be at least 0, not {self.temperature}")
        if not 0 <= self.top_k < 2**31:
            raise UserError(f"top_k must be in [0, 2^31), not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be in (0, 1], not {self.top_p}")


ALL_TOKENS = Sampling()


def sample(key: jax.Array, logits: jax.Array, sampling: Sampling) -> jax.Array:
    """A token, int32 [], of logits float [V]."""
    if sampling.temperature == 0:
        return jnp.argmax(logits).astype(jnp.int32)
    logits = logits / sampling.temperature
    if sampling.top_k or sampling.top_p < 1:
        order = jnp.argsort(-logits)
        ranked = logits[order]
        kept = jnp.arange(len(ranked)) < (sampling.top_k or len(ranked))
        ranked = jnp.where(kept, ranked, -jnp.inf)
        before = jnp.cumsum(jax.nn.softmax(ranked)) - jax.nn.softmax(ranked)
        ranked = jnp.where(before < sampling.top_p, ranked, -jnp.inf)
        return order[jax.random.categorical(key, ranked)].astype(jnp.int32)
    return jax.random.categorical(key, logits).astype(jnp.int32)


class Generator:
    """The language model in a working directory: its best checkpoint, or that of `step`.

    datastore: of this checkpoint, whose neighbours are mixed into every prediction; None for
        the model alone. weight: of the neighbours, in [0, 1); None for that of the datastore.
    Raises UserError where there is no model, it is of another task, or the datastore cannot be
    used.
    """

    def __init__(
        self,
        workdir: Path,
        step: int | None = None,
        datastore: Path | None = None,
        weight: float | None = None,
    ):
        run = restored(workdir, step)
        if not isinstance(run.task, LanguageTask):
            raise UserError(f"{workdir} holds a {run.config.task} run, not a language model")
        self.step, self.config, self.model = run.step, run.config, run.model
        self.tokenizer: Tokenizer = run.task.vocabulary
        self._trained = run.trained
        self._slots = evaluated_slots(self.model, run.config)
        window = self.model.window
        # After half of a window was read again there has to be room for a block.
        self._block = BLOCK if window is None else max(1, min(BLOCK, window // 2))
        self._store = None
        if datastore is not None:
            self._store = opened(datastore, run.trained, self.tokenizer, weight)
            self._block = 1
        self._mix = jax.jit(mixed_logits)
        self._read = jax.jit(self._read_block)
        self._write = jax.jit(self._write_block, static_argnames=("sampling",))

    def tokens(
        self, prompt: list[int], sampling: Sampling, length: int, seed: int = 0
    ) -> Iterator[int]:
        """`length` tokens that follow those of the prompt, of which there is at least one. The
        same arguments give the same tokens; those of a shorter length are the first ones."""
        window = self.model.window
        history = list(prompt)
        state, logits = self._begin(history)
        room = None if window is None else window - min(len(history), window)
        key, made = jax.random.key(seed), 0
        while made < length:
            if room is not None and room < self._block:
                history = history[-max(1, window // 2) :]
                state, logits = self._begin(history)
                room = window - len(history)
            state, features, logits, block = self._write(
                self._trained, state, logits, key, np.int32(made), sampling=sampling
            )
            logits = self._with_neighbours(features, logits)
            block = np.asarray(block)[: length - made].tolist()
            made += len(block)
            if room is not None:
                room -= self._block
                history = (history + block)[-window:]
            yield from block

    def stream(
        self, prompt: str, sampling: Sampling, length: int, seed: int = 0
    ) -> Iterator[str]:
        """The text of `tokens` in pieces, as they are made. An empty prompt is the beginning of
        a document or, in a text without, of a line."""
        sampling.check()
        ids = self._prompt(prompt)
        kept, pending = ids[-BEFORE:], []
        for token in self.tokens(ids, sampling, length, seed):
            pending.append(token)
            piece = self._decoded(kept, pending)
            if piece.endswith(REPLACEMENT) and len(pending) <= UNFINISHED:
                continue
            yield piece
            kept, pending = (kept + pending)[-BEFORE:], []
        if pending:
            yield self._decoded(kept, pending)

    def _prompt(self, text) -> list[int]:
        """Its tokens, at least one. In a text of documents each line is one."""
        encode, boundary = self.tokenizer.encode, self.tokenizer.boundary
        if boundary is None:
            return encode(text or "\n").tolist()
        return [i for line in text.split("\n") for i in (boundary, *encode(line).tolist())]

    def _decoded(self, kept, pending):
        """What `pending` adds to the text of `kept`."""
        return self.tokenizer.decode(kept + pending)[len(self.tokenizer.decode(kept)) :]

    def _begin(self, ids):
        """The state after tokens, and the logits of the next. A model with a window reads the
        last half of it, where there are more."""
        window = self.model.window
        if window is not None and len(ids) >= window:
            ids = ids[-max(1, window // 2) :]
        state = self._trained.initial_state(self.model, 1, self._slots)
        for start in range(0, len(ids), PROMPT_BLOCK):
            part = ids[start : start + PROMPT_BLOCK]
            fill = PROMPT_BLOCK - len(part)
            tokens = np.pad(np.array([part], np.int32), ((0, 0), (0, fill)))
            mask = np.arange(PROMPT_BLOCK)[None] < len(part)
            state, features, logits = self._read(self._trained, state, tokens, mask)
        return state, self._with_neighbours(features, logits)

    def _with_neighbours(self, features, logits):
        """Logits [V] of the next token. features: float [D], that they are of."""
        if self._store is None:
            return logits
        found = self._store.search(np.asarray(features, np.float32)[None])
        return self._mix(logits, found.distances[0], found.tokens[0], *self._store.mixture)

    def _apply(self, trained, *inputs):
        outputs = trained.apply(self.model, *inputs, method="with_features")
        features, logits, state, _ = outputs
        return state, features[0], logits[0]

    def _read_block(self, trained, state, tokens, mask):
        state, features, logits = self._apply(trained, tokens, state, mask)
        last = jnp.sum(mask) - 1
        return state, features[last], logits[last]

    def _write_block(self, trained, state, logits, key, first, sampling):
        """A block of tokens. first: how many were made before; their keys depend on it."""

        def one(carry, number):
            state, logits = carry
            token = sample(jax.random.fold_in(key, number), logits, sampling)
            state, features, logits = self._apply(trained, token[None, None], state)
            return (state, logits[0]), (features[0], token)

        numbers = first + jnp.arange(self._block)
        (state, logits), (features, tokens) = jax.lax.scan(one, (state, logits), numbers)
        return state, features[-1], logits, tokens
