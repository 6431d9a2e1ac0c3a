"""A page to play with trained models, in a browser on this machine; needs no network.

    python -m mocanet_jax.demo --workdir=runs/sst2
    python -m mocanet_jax.demo --language=runs/tiny_shakespeare --port=8000

Type a text and see what each word did; move λ, the price of compute, and see what is computed
no longer; watch pointers walk over memory. The page needs Gradio: pip install gradio.
"""

import importlib.util
import os
import socket
import threading

from absl import flags

from mocanet_jax import cli
from mocanet_jax.runtime import backend, compilation_cache
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path

DEFAULT_WORKDIR = "runs/sst2"

HOST = "127.0.0.1"
EXAMPLE = "A warm, funny film that's never less than engaging!"


def main() -> None:
    given = flags.FLAGS
    check_extra()
    check_port(given.port)
    backend.prepare()
    compilation_cache.enable()
    backend.start()
    print("loading ...", flush=True)
    texts, language = load_texts(given.workdir), load_language(given.language)
    example = (EXAMPLE, texts.multiplier)  # XLA compiles beside the imports of Gradio
    threading.Thread(target=texts.answer, args=example, daemon=True).start()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from mocanet_jax import demo_page
    from mocanet_jax.report.page import CopyAnswers

    copies = CopyAnswers(local_path(given.copy))
    try:
        serve(demo_page.build(texts, copies, language), demo_page.LOOK, given.port)
    except KeyboardInterrupt:
        cli.leave("", 130)


def check_extra() -> None:
    """Raises UserError where Gradio is not installed."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs Gradio, which is not installed: pip install gradio")


def check_port(port: int) -> None:
    """Raises UserError for a port that cannot be served on."""
    if not 1 <= port <= 65535:
        raise UserError(f"--port must be in 1 to 65535, not {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port={port} cannot be used: {error.strerror}") from error


def load_texts(workdir: str | None):
    """The classifier of a run, None for the default one; where that is not there, the one that
    comes with the package. Raises UserError for a run that is none."""
    from mocanet_jax.inference.predictor import TextPredictor
    from mocanet_jax.report.page import TextAnswers

    place = cli.run_or_shipped(local_path(workdir or DEFAULT_WORKDIR))
    return TextAnswers(TextPredictor(place))


def load_language(workdir: str | None):
    """The language model; None where none was named. Raises UserError for a run that is
    none."""
    if workdir is None:
        return None
    from mocanet_jax.inference.generation import Generator

    return Generator(local_path(workdir))


def serve(page, look: dict, port: int) -> None:
    """Serves the page until it is interrupted."""
    page.queue(default_concurrency_limit=4)
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        **look,
    )
    print(f"open http://{HOST}:{port} in a browser; Ctrl-C ends it", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    flags.DEFINE_string(
        "workdir", None, f"A run of a text classifier; {DEFAULT_WORKDIR} if it is there."
    )
    flags.DEFINE_string("copy", "runs/copy", "A run of the copy task; trained on first use.")
    flags.DEFINE_string("language", None, "A training run of a language model, if any.")
    flags.DEFINE_integer("port", 7860, "Where the page is served, on this machine alone.")
    cli.run(main)
