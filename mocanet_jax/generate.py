"""Writes text with a trained language model.

    python -m mocanet_jax.generate --workdir=runs/tiny_shakespeare --prompt="ROMEO:"
    echo "ROMEO:" | python -m mocanet_jax.generate --workdir=runs/tiny_shakespeare --prompt=-
    python -m mocanet_jax.generate --workdir=runs/tiny_shakespeare --format=json
    python -m mocanet_jax.generate --workdir=runs/tiny_shakespeare --datastore=store

Text appears as it is made, the prompt first. With --format=json there is one line of JSON at
the end instead: prompt, text, tokens, tokens_per_second (without compilation), step and seed.
"""

import json
import sys
import time

from absl import flags

from mocanet_jax import cli
from mocanet_jax.runtime import backend, compilation_cache, streams
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path

WORKDIR = flags.DEFINE_string("workdir", None, "A training run of a language model.")
PROMPT = flags.DEFINE_string("prompt", "", "What the text begins with; - reads it from stdin.")
LENGTH = flags.DEFINE_integer("length", 500, "Tokens to make.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Divides logits; 0 for the likeliest.")
TOP_K = flags.DEFINE_integer("top_k", 0, "Only so many of the likeliest tokens; 0 for all.")
TOP_P = flags.DEFINE_float("top_p", 1.0, "Only the likeliest tokens of this probability.")
SEED = flags.DEFINE_integer("seed", 0, "Of the choice of tokens.")
STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the best by default.")
DATASTORE = flags.DEFINE_string(
    "datastore", None, "Of this model; its neighbours are mixed into every prediction."
)
WEIGHT = flags.DEFINE_float(
    "datastore_weight", None, "Of its neighbours, in [0, 1); that fitted when it was made."
)
FORMAT = flags.DEFINE_enum("format", "text", ["text", "json"], "What to print.")

MOST_NAMED = 10
"""Unknown characters or words of a prompt."""


def main() -> None:
    if not WORKDIR.value:
        raise UserError("no run given; pass one, for example --workdir=runs/tiny_shakespeare")
    if not 0 <= LENGTH.value < 2**31:
        raise UserError(f"--length must be in [0, 2^31), not {LENGTH.value}")
    if not 0 <= SEED.value < 2**32:
        raise UserError(f"--seed must be in [0, 2^32), not {SEED.value}")
    if WEIGHT.value is not None and not DATASTORE.value:
        raise UserError("--datastore_weight needs --datastore=DIR")
    backend.prepare()
    compilation_cache.enable()
    backend.start()
    from mocanet_jax.inference.generation import Generator, Sampling

    sampling = Sampling(TEMPERATURE.value, TOP_K.value, TOP_P.value)
    sampling.check()
    streams.accept_anything()
    store = local_path(DATASTORE.value) if DATASTORE.value else None
    generator = Generator(local_path(WORKDIR.value), STEP.value, store, WEIGHT.value)
    prompt = sys.stdin.read().removesuffix("\n") if PROMPT.value == "-" else PROMPT.value
    if unknown := generator.tokenizer.unknown(prompt):
        named = ", ".join(map(repr, unknown[:MOST_NAMED])) + ", …" * (len(unknown) > MOST_NAMED)
        print(f"note: not in the training text, read as unknown: {named}", file=sys.stderr)
    pieces = generator.stream(prompt, sampling, LENGTH.value, SEED.value)
    show = _print_json if FORMAT.value == "json" else _print_text
    try:
        show(generator, prompt, pieces)
    except KeyboardInterrupt:
        cli.leave("", 130)
    except BrokenPipeError:
        cli.discard_output()  # whoever read has seen enough


def _print_text(generator, prompt, pieces):
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _print_json(generator, prompt, pieces):
    text = next(pieces, "")  # compiles
    started = time.perf_counter()
    text += "".join(pieces)
    seconds = time.perf_counter() - started
    answer = {
        "prompt": prompt,
        "text": text,
        "tokens": LENGTH.value,
        "tokens_per_second": round(LENGTH.value / max(seconds, 1e-9), 1),
        "step": generator.step,
        "seed": SEED.value,
    }
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    cli.run(main, outlives_reader=False)
