"""Tokens a second of a trained language model that writes, against PyTorch's LSTM.

    pip install -e ".[bench]"
    python -m benchmarks.generation --workdir=runs/tiny_shakespeare [--far=1000000]

The LSTM has one layer, as many parameters, and untrained ones; both draw each token by its
probability. Ours is timed again after `far` tokens: the cost of a token must not grow.
"""

import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import app, flags

from benchmarks import peers, timing
from mocanet_jax.inference.generation import Generator, Sampling

WORKDIR = flags.DEFINE_string("workdir", "runs/tiny_shakespeare", "A trained language model.")
TOKENS = flags.DEFINE_integer("tokens", 4000, "Timed tokens of each round.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds, by turns.")
FAR = flags.DEFINE_integer("far", 0, "Tokens before ours is timed once more; 0 for not.")


def rate(tokens: Iterator[int]) -> float:
    """Tokens a second of the next --tokens."""
    start = time.perf_counter()
    for _ in itertools.islice(tokens, TOKENS.value):
        pass
    return TOKENS.value / (time.perf_counter() - start)


def equal_width(parameters: int, vocab_size: int) -> int:
    """Of an LSTM with embedding and head: 8 D² + (8 + 2 V) D + V parameters."""
    b, c = 8 + 2 * vocab_size, vocab_size - parameters
    return round((-b + math.sqrt(b * b - 32 * c)) / 16)


def main(argv):
    peers.use_threads(1)
    generator = Generator(Path(WORKDIR.value))
    vocab_size = len(generator.tokenizer)
    parameters = sum(x.size for x in jax.tree.leaves(generator._trained.params))
    width = equal_width(parameters, vocab_size)
    endless = FAR.value + 2 * TOKENS.value * (ROUNDS.value + 1)
    streams = {
        "MOCA-Net": generator.tokens([0], Sampling(), endless),
        f"PyTorch LSTM, D = {width}": peers.lstm_text(width, vocab_size),
    }
    rates = {name: [] for name in streams}
    for turn in range(ROUNDS.value + 1):
        for name, tokens in streams.items():
            found = rate(tokens)
            if turn:
                rates[name].append(found)
    ours, peer = (timing.spread(found) for found in rates.values())
    rows = [
        {
            "model": "MOCA-Net",
            "tokens/s": ours.median,
            "over PyTorch": ours.median / peer.median,
        }
    ]
    if FAR.value:
        tokens = streams["MOCA-Net"]
        for _ in itertools.islice(tokens, FAR.value):
            pass
        far = timing.spread([rate(tokens) for _ in range(ROUNDS.value)]).median
        name = f"the same after {FAR.value:,} tokens"
        rows.append({"model": name, "tokens/s": far, "over PyTorch": far / peer.median})
    name = list(streams)[1]
    rows.append({"model": name, "tokens/s": peer.median, "over PyTorch": 1.0})
    timing.publish("generation", f"text, {parameters:,} parameters", rows)


if __name__ == "__main__":
    app.run(main)
