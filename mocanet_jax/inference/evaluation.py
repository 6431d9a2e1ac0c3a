"""Evaluation of a trained model from its working directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mocanet_jax.evaluate.language import LanguageEvaluator
from mocanet_jax.evaluate.retrieval import RetrievalEvaluator, RetrievalResults
from mocanet_jax.inference.datastore import NEIGHBOURS, opened
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.sharding import build_layout
from mocanet_jax.runtime.storage.files import write_json
from mocanet_jax.train.build import build_evaluator
from mocanet_jax.train.checkpoints.workdir import CHANGEABLE, differing_fields
from mocanet_jax.train.config import base_config
from mocanet_jax.train.config.settings import check_settings, override, plain
from mocanet_jax.train.restore import restored
from mocanet_jax.train.result import EVALUATION, EvaluatedCheckpoint, Result, final_result

DATASTORE_FILE = "eval_datastore.json"

OF_THE_MODEL = ("task", "model")
"""Sections of a config by which it is that of another run."""


def evaluate(
    workdir: Path, config: ConfigDict | None = None, overrides: Mapping[str, Any] | None = None
) -> Result:
    """Evaluates the best checkpoint in `workdir` with the config that it was trained with.

    config: what the user took the run to be; None for whatever it is. Its sections eval and
    mesh take the place of the run's. overrides: fields that the user set by name; only those
    may differ that settings.override allows. The summary is kept in eval.json.
    Raises UserError where there is no such run, or it is another one.
    """

    def change(trained: ConfigDict) -> None:
        for name, value in (overrides or {}).items():
            override(trained, name, value)
        if config is None:
            trained.mesh = base_config().mesh
        else:
            _check_same(workdir, trained, config)
            trained.eval.update(config.eval)
            trained.mesh = config.mesh
        check_settings(trained)

    run = restored(workdir, change=change, arrange=build_layout)
    evaluator = build_evaluator(run.model, run.task, run.config, run.layout)
    of = EvaluatedCheckpoint(run.step, run.progress, run.step, run.progress)
    return final_result(workdir, EVALUATION, evaluator, run.trained, of)


def evaluate_with_datastore(
    result: Result, folder: Path, weight: float | None = None
) -> RetrievalResults:
    """Evaluates what `evaluate` returned with a datastore of the same checkpoint. The summary
    is kept beside its own in DATASTORE_FILE.

    weight: of the neighbours, in [0, 1); None to fit it, and the temperature, on the validation
    split. Raises UserError for a task without a datastore, and one that cannot be used.
    """
    evaluator = result.evaluator
    if not isinstance(evaluator, LanguageEvaluator):
        raise UserError(f"{result.workdir} holds no language model, which a datastore is for")
    store = opened(folder, result.trained, evaluator.task.vocabulary, weight)
    retrieval = RetrievalEvaluator(evaluator.model, evaluator.config, store.search)
    given = None if weight is None else store.mixture
    found = retrieval.test(result.trained, evaluator.task.held_out, given)
    summary = {
        "datastore": str(folder),
        "entries": store.description.entries,
        "neighbours": NEIGHBOURS,
        **found._asdict(),
        "mixture": found.mixture._asdict(),
    }
    write_json(result.workdir / DATASTORE_FILE, summary)
    return found


def _check_same(workdir, trained, config):
    sections = ({name: plain(c)[name] for name in OF_THE_MODEL} for c in (trained, config))
    fields = differing_fields(*sections)
    fields = [field for field in fields if field.split(" ")[0] not in CHANGEABLE]
    if fields:
        raise UserError(
            f"{workdir} holds a run of another config: {'; '.join(fields)}. Leave out --config "
            "to evaluate it as it was trained"
        )
