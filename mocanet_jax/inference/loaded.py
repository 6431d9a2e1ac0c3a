"""A trained model from its working directory, for one's own code.

    model = mocanet_jax.load("runs/copy")
    logits, state, aux = model.apply(tokens)

Axes: B batch, T time.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mocanet_jax.inference.generation import ALL_TOKENS, Generator, Sampling
from mocanet_jax.inference.predictor import Explanation, Prediction, TextPredictor
from mocanet_jax.nn.models.protocol import Model
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.tasks.task import Task
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.train.checkpoints.shipped import place
from mocanet_jax.train.restore import restored


class LoadedModel:
    """The best checkpoint of a run, or that of `step`.

    step: of the checkpoint. config: what the run was trained with. task, model: built from it.
    params: a pytree of arrays. multiplier: λ of the budget, float [].
    """

    def __init__(self, workdir: Path, step: int | None = None):
        run = restored(workdir, step)
        self._workdir, self._trained = workdir, run.trained
        self.step: int = run.step
        self.config: ConfigDict = run.config
        self.task: Task = run.task
        self.model: Model = run.model
        self._apply = jax.jit(lambda trained, *inputs: trained.apply(run.model, *inputs))

    @property
    def params(self) -> dict:
        return self._trained.params

    @property
    def multiplier(self) -> jax.Array:
        return self._trained.multiplier

    def initial_state(self, batch: int, num_slots: int | None = None) -> Any:
        """State before B sequences. num_slots: S, to enlarge the memory."""
        return self._trained.initial_state(self.model, batch, num_slots)

    def apply(self, tokens: jax.Array, state: Any = None, mask: jax.Array | None = None):
        """(logits, next state, aux) of tokens int [B, T], of texts int [B, T, 1 + M]; compiled
        once a shape. state: None for fresh sequences. mask: bool [B, T], None for no
        padding."""
        return self._apply(self._trained, tokens, state, mask)

    @cached_property
    def _predictor(self) -> TextPredictor:
        if not isinstance(self.task, TextTask):
            raise UserError(f"{self._workdir} holds a {self.config.task} run, not a classifier")
        return TextPredictor(self._workdir, self.step)

    def predict(self, text: str) -> Prediction | None:
        """The class of a text, with calibrated probabilities; None for a text without a word.
        Raises UserError for a model that is no text classifier."""
        return self._predictor.predict(text)

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self._workdir, self.step)

    def generate(
        self, prompt: str, length: int, sampling: Sampling = ALL_TOKENS, seed: int = 0
    ) -> str:
        """`length` tokens that follow a prompt, as text. Raises UserError for a run that is no
        language model."""
        return "".join(self._generator.stream(prompt, sampling, length, seed))

    def explain(self, text: str) -> Explanation | None:
        """As `predict`, with the influence, experts and slots of each word."""
        return self._predictor.explain(text)


def load(workdir: Path | str, step: int | None = None) -> LoadedModel:
    """The model of a run, of a packed model, or one that comes with the package, by its name
    ("sst2"). Raises UserError where there is none, or it is damaged or of another version."""
    return LoadedModel(place(local_path(workdir)), step)
