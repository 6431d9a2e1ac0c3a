"""A trained model as files that need nothing of this package.

Axes: B batch, T time, M pieces of a word, V vocabulary, C classes.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax import export as jax_export
from ml_collections import ConfigDict

from mocanet_jax.inference import export_guide
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import safetensors
from mocanet_jax.runtime.storage.files import new_directory, write_json
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.tasks.text import tokenizer
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.train.checkpoints import packed
from mocanet_jax.train.checkpoints.checkpoint import saved_run
from mocanet_jax.train.restore import Restored, restored

PLATFORMS = ("cpu", "cuda", "tpu")

MODEL_FILE, WEIGHTS_FILE = "model.stablehlo", "params.safetensors"


def export(workdir: Path | str, out: Path | str) -> None:
    """As `export_run`."""
    export_run(local_path(workdir), local_path(out))


def export_run(workdir: Path, out: Path) -> str:
    """The best checkpoint of a run into `out`, whole or not at all. Returns a line on what is
    there.

    Raises UserError where there is no such checkpoint, and for an `out` that holds something
    or cannot be written.
    """
    _check_free(out)
    run = restored(workdir, change=_use_scan)
    if isinstance(run.task, LanguageTask):
        raise UserError(
            f"{workdir} holds a language model, which cannot be exported: a program for whole "
            "texts has no state to go on from; load it with mocanet_jax.load, or let it write "
            "with mocanet generate"
        )
    model = exported(run)
    content = model.serialize()
    weights = flatten_dict(jax.tree.map(np.asarray, run.trained.params), sep=".")
    try:
        with new_directory(out) as folder:
            (folder / MODEL_FILE).write_bytes(content)
            safetensors.save(folder / WEIGHTS_FILE, weights, {"step": str(run.step)})
            write_json(folder / "config.json", run.progress.config)
            run.task.save(folder)
            if isinstance(run.task, TextTask):
                _write(folder / "tokenizer.py", inspect.getsource(tokenizer))
            _write(folder / "README.md", export_guide.guide(run, model.platforms))
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    count = sum(array.size for array in weights.values())
    return (
        f"step {run.step:,} of {workdir}, {count:,} parameters, is in {out}; "
        f"{out / 'README.md'} says how to load it"
    )


def pack_run(workdir: Path, out: Path) -> str:
    """The best checkpoint of a run into `out` as a packed model (train/checkpoints/packed.py),
    for `mocanet_jax.load` and the commands that take a run. The rest as of `export_run`."""
    _check_free(out)
    with saved_run(workdir) as checkpoints:
        step = checkpoints.best_step()
        record = checkpoints.record(step)
    run = restored(workdir, step)
    try:
        with new_directory(out) as folder:
            packed.write(folder, step, record, run.trained)
            size = sum(file.stat().st_size for file in folder.iterdir())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    return (
        f"step {step:,} of {workdir} is in {out}, {size / 1e6:.1f} MB; load it with "
        f'mocanet_jax.load("{out}")'
    )


def exported(run: Restored) -> jax_export.Exported:
    """One program for any B ≥ 1 and T ≥ 1 on any of PLATFORMS, parameters included.

    It is that of `inference`, of tokens int32 [B, T], of texts int32 [B, T, 1 + M], and a mask
    bool [B, T]. The model has to be built with `time="scan"`: a parallel prefix is a program
    for one T.
    """
    batch, time = jax_export.symbolic_shape("batch, time")
    per_token = run.model.token_shape
    return jax_export.export(jax.jit(inference(run)), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct((batch, time, *per_token), jnp.int32),
        jax.ShapeDtypeStruct((batch, time), jnp.bool_),
    )


def inference(run: Restored) -> Callable[[jax.Array, jax.Array], dict[str, jax.Array]]:
    """tokens, mask → outputs by name.

    logits: float [B, T, V]; of texts float [B, C], the mean over members, and with them
    probabilities: float [B, C], calibrated on held-out texts (evaluate/calibration.py).
    """

    def logits(tokens, mask):
        return run.trained.apply(run.model, tokens, mask=mask)[0]

    if not isinstance(run.task, TextTask):
        return lambda tokens, mask: {"logits": logits(tokens, mask)}
    temperature = run.progress.validation["temperature"]

    def decide(tokens, mask):
        mean = jnp.mean(logits(tokens, mask), axis=0)
        return {"logits": mean, "probabilities": jax.nn.softmax(mean / temperature)}

    return decide


def _use_scan(config: ConfigDict) -> None:
    config.model.time = "scan"


def _check_free(out):
    try:
        if out.is_dir() and not any(out.iterdir()):
            return
    except OSError as error:
        raise UserError(f"{out} cannot be read: {error.strerror}") from error
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} is there already; pass a new or empty directory with --out")


def _write(path, text):
    path.write_text(text, encoding="utf-8")
