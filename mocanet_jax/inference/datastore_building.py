"""A datastore from a corpus: every token of its training split under the features before it.

The text is read as evaluation reads it, with carried state. Into OUT.building go the keys and,
every SAVE_EVERY steps, the state of the model; whatever ends the process, the same call goes on
from there and ends with the same bytes. OUT itself is whole or not there.

Axes: N entries, D width, L lanes, T time.
"""

import math
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.evaluate.reading import Pass, evaluated_slots, planned, read
from mocanet_jax.evaluate.retrieval import FIT_TOKENS, Mixture, RetrievalEvaluator, fitted
from mocanet_jax.inference.datastore import (
    DESCRIPTION,
    INDEX,
    TOKENS,
    Description,
    Source,
    library,
    model_checksum,
    num_lists,
    searched,
    tokenizer_checksum,
)
from mocanet_jax.runtime import memory
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.runtime.storage.files import flush, new_directory, read_json, write_json
from mocanet_jax.runtime.storage.lock import locked
from mocanet_jax.runtime.storage.plain_paths import plain_path
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.train.restore import Restored, restored

SAVE_EVERY = 64
"""Steps, of config.eval.segment tokens in each lane."""

ROWS = 1 << 16
"""Keys that are added to an index at a time."""

TRAINING_ROWS = 64
"""Keys a list from which its centroids are found."""

NOTE_SECONDS = 10.0
"""Between lines on how far it is."""

REQUEST, KEYS, STATE = "request.json", "keys.float16", "state.npz"
"""Files of a datastore that is being built."""

Note = Callable[[str], None]
"""Takes a line on how far it is."""


def build(workdir: Path, corpus: str, out: Path, note: Note = lambda line: None) -> Description:
    """Makes the datastore `out`, a new or empty directory, or goes on making it.

    workdir: a run of a language model, whose best checkpoint is used. corpus: as
    config.data.path, "" for that of the run; its training split is kept, and the mixture is
    fitted on its validation split.
    Raises UserError where FAISS, the run or the corpus cannot be used, `out` holds something,
    or another process makes it.
    """
    faiss = library()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already; pass another --out, or delete it")
    run = restored(workdir, change=partial(_with_corpus, corpus=corpus))
    if not isinstance(run.task, LanguageTask):
        raise UserError(f"{workdir} holds a {run.config.task} run, not a language model")
    source = _source(run)
    building = out.absolute().with_name(f"{out.absolute().name}.building")
    try:
        building.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{building} cannot be made: {error.strerror}") from error
    with locked(building):
        _claim(building, source)
        keys = _keys(building, run, note)
        note(f"{len(keys):,} keys of {keys.shape[1]} numbers; making their index")
        with new_directory(out) as folder:
            _write_index(faiss, keys, folder)
            np.save(folder / TOKENS, run.task.training.ids[1:], allow_pickle=False)
            mixture = _fitted(folder, run, note)
            description = Description(source._asdict(), *keys.shape, mixture._asdict())
            write_json(folder / DESCRIPTION, description._asdict())
            manifest.seal(folder)
        shutil.rmtree(building)
    return description


def _with_corpus(config: ConfigDict, corpus: str) -> None:
    if corpus and "path" in config.data:
        config.data.path = corpus


def _source(run: Restored) -> Source:
    return Source(
        run.step,
        model_checksum(run.trained),
        tokenizer_checksum(run.task.vocabulary),
        run.config.data.path,
        run.task.training.fingerprint(),
    )


def _claim(building, source):
    """Raises UserError for a folder where another datastore was begun."""
    path, request = building / REQUEST, source._asdict()
    if not path.exists():
        write_json(path, request)
        return
    if read_json(path) != request:
        raise UserError(
            f"{building} is a half-made datastore of another model or corpus; pass another "
            "--out, or delete it"
        )


def _keys(building: Path, run: Restored, note: Note) -> np.ndarray:
    """float16 [N, D], in a file. Row n is of the token n, and of what comes after it."""
    tokens, slots = run.task.training, evaluated_slots(run.model, run.config)
    plan = planned(tokens, run.model.window, run.config.eval, len(tokens))
    step = jax.jit(partial(_step, run.model, slots))
    state = run.trained.initial_state(run.model, plan.lanes, slots)
    like = jax.ShapeDtypeStruct((plan.lanes, plan.segment + 1), np.int32)
    now = Pass(*(part[0] for part in plan.passes))
    width = jax.eval_shape(step, run.trained, state, like, now)[1].shape[-1]
    path, shape = building / KEYS, (len(tokens) - 1, width)
    done, state = _resumed(building, shape, state)
    if not done:
        path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(shape[0] * width * 2)
        noted = time.monotonic()
        for number, (now, ids) in enumerate(plan.steps(tokens, done), done + 1):
            scored, features, state = step(run.trained, state, ids, now)
            _write_rows(file, np.asarray(scored), np.asarray(features), now)
            if number % SAVE_EVERY == 0 or number == plan.num_steps:
                file.flush()
                flush(path)
                _save_state(building, number, state)
            if time.monotonic() - noted > NOTE_SECONDS:
                noted = time.monotonic()
                note(f"{number / plan.num_steps:.0%} of {len(tokens):,} tokens are read")
    return np.memmap(path, np.float16, "r", shape=shape)


def _write_rows(file, scored, features, now):
    """Of every lane the rows of the tokens that are scored, which are one after another."""
    for lane, start in enumerate((now.start + now.context).tolist()):
        rows = features[lane][scored[lane]].astype(np.float16)
        file.seek(start * rows.shape[-1] * rows.itemsize)
        file.write(rows.tobytes())


def _step(model, num_slots, trained, state, ids, now: Pass):
    """Which tokens are scored, bool [L, T], features float [L, T, D], and the next state. What
    else a model computes is not needed, and not computed."""
    scored, (features, _, state, _) = read(
        model, num_slots, trained, state, ids, now, "with_features"
    )
    return scored, features, state


def _save_state(building: Path, done: int, state: Any) -> None:
    """done: steps before it. In one move, when it is on disk."""
    partial_file = building / f"{STATE}.partial"
    with partial_file.open("wb") as file:
        leaves = {f"leaf{n}": np.asarray(x) for n, x in enumerate(jax.tree.leaves(state))}
        np.savez(file, done=done, **leaves)
    flush(partial_file)
    os.replace(partial_file, building / STATE)


def _resumed(building: Path, shape: tuple[int, int], fresh: Any) -> tuple[int, Any]:
    """Steps that are done, and the state after them; of what cannot be read none are."""
    try:
        if (building / KEYS).stat().st_size != shape[0] * shape[1] * 2:
            return 0, fresh
        with np.load(building / STATE, allow_pickle=False) as saved:
            leaves = [saved[f"leaf{n}"] for n in range(len(jax.tree.leaves(fresh)))]
            return int(saved["done"]), jax.tree.unflatten(jax.tree.structure(fresh), leaves)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return 0, fresh


def _write_index(faiss: ModuleType, keys: np.ndarray, folder: Path) -> None:
    index = _index(faiss, keys)
    try:
        with plain_path(folder) as plain:
            faiss.write_index(index, str(plain / INDEX))
    except RuntimeError as error:  # as FAISS reports a full disk
        reason = " ".join(str(error).split())
        raise UserError(f"cannot write {folder / INDEX}: {reason}") from error


def _index(faiss: ModuleType, keys: np.ndarray) -> Any:
    """Of keys float16 [N, D]: compared one by one, or in lists (datastore.py)."""
    count, width = keys.shape
    memory.check(2.0 * keys.size, f"an index of {count:,} keys", "a smaller corpus needs less")
    half = faiss.ScalarQuantizer.QT_fp16
    if not (lists := num_lists(count)):
        index = faiss.IndexScalarQuantizer(width, half, faiss.METRIC_L2)
    else:
        centroids = faiss.IndexFlatL2(width)
        index = faiss.IndexIVFScalarQuantizer(
            centroids, width, lists, half, faiss.METRIC_L2, False
        )
        index.train(np.float32(keys[:: math.ceil(count / (TRAINING_ROWS * lists))]))
    for start in range(0, count, ROWS):
        index.add(np.float32(keys[start : start + ROWS]))
    return index


def _fitted(folder: Path, run: Restored, note: Note) -> Mixture:
    evaluator = RetrievalEvaluator(run.model, run.config, searched(folder))
    blocks = [*evaluator.scored(run.trained, run.task.held_out["valid"], FIT_TOKENS)]
    mixture, count = fitted(blocks), sum(len(block.log_p) for block in blocks)
    alone, together = (
        math.exp(sum(block.loss(m) for block in blocks) / count)
        for m in (mixture._replace(weight=0.0), mixture)
    )
    note(
        f"weight {mixture.weight:.3f} and temperature {mixture.temperature:.4g}, fitted on "
        f"{count:,} tokens of the validation split: perplexity {alone:.2f} → {together:.2f}"
    )
    return mixture
