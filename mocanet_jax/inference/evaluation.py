"""Evaluation of a trained model from its working directory."""

from pathlib import Path

from ml_collections import ConfigDict

from mocanet_jax.inference.restore import restored
from mocanet_jax.runtime.sharding import build_layout
from mocanet_jax.train.build import build_evaluator
from mocanet_jax.train.result import Evaluated, Result, final_result
from mocanet_jax.train.settings import check_settings, override


def evaluate(config: ConfigDict, workdir: Path, overrides: dict) -> Result:
    """Evaluates the best checkpoint in `workdir` with the model it was saved with.

    overrides: config fields that the user set by name; only those may differ that
    settings.override allows from the checkpoint's own. The summary is kept in eval.json.
    """

    def change(trained: ConfigDict) -> None:
        for name, value in overrides.items():
            override(trained, name, value)
        trained.eval.update(config.eval)
        trained.mesh = config.mesh
        check_settings(trained)

    run = restored(workdir, change=change, arrange=build_layout)
    evaluator = build_evaluator(run.model, run.task, run.config, run.layout)
    of = Evaluated(run.step, run.progress, run.step, run.progress)
    return final_result(workdir, "eval.json", evaluator, run.trained, of)
