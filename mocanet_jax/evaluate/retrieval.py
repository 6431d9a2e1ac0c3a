"""A language model with a datastore: how much its neighbours are worth.

Weight w and temperature T (core/retrieval.py) are fitted on the validation split, never on the
test split: for each T of a grid the w of least loss, which is convex in w.

Axes: N queries, D width, K neighbours, L lanes, T time.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.core import retrieval
from mocanet_jax.evaluate.language import rates
from mocanet_jax.evaluate.reading import Pass, evaluated_slots, planned, read
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.tasks.corpora.corpus import Tokens

FIT_TOKENS = 20_000
"""The first of the validation split, that the mixture is fitted on."""

TEMPERATURES = tuple(2.0**power for power in range(-6, 4))
"""The grid of T, in mean squared distances of the nearest neighbour."""


class Neighbours(NamedTuple):
    """Of N queries. distances: float32 [N, K], squared, inf where one is missing. tokens: int32
    [N, K], what came next; any for one that is missing."""

    distances: np.ndarray
    tokens: np.ndarray


Search = Callable[[np.ndarray], Neighbours]
"""Of queries, float32 [N, D]."""


class Mixture(NamedTuple):
    """weight: w in [0, 1). temperature: T, above 0, in squared distances."""

    weight: float
    temperature: float


class Scored(NamedTuple):
    """Tokens that were predicted. log_p: float32 [N], of the model alone. distances: [N, K], as
    of Neighbours. match: bool [N, K], whether a neighbour has the token that came."""

    log_p: np.ndarray
    distances: np.ndarray
    match: np.ndarray

    def loss(self, mixture: Mixture) -> float:
        """Nats, summed."""
        found = self.neighbour_probability(mixture.temperature)
        with np.errstate(divide="ignore"):  # of a token that no neighbour has
            log_p = retrieval.log_mixed(np.float64(self.log_p), found, mixture.weight)
        return -float(log_p.sum())

    def neighbour_probability(self, temperature: float) -> np.ndarray:
        """p_kNN of the tokens that came, float64 [N]."""
        return np.float64(
            retrieval.neighbour_probability(self.distances, self.match, temperature)
        )


class RetrievalResults(NamedTuple):
    """fitted_on: tokens of the validation split that the mixture was fitted on, 0 where it was
    given. splits: metrics of "valid" and perhaps "test": loss, in nats a token, and rates, with
    the datastore; under "without" those of the model alone; tokens, how many were scored."""

    mixture: Mixture
    fitted_on: int
    splits: dict[str, dict]


class RetrievalEvaluator:
    """Compiled evaluation of one model with a datastore on one text."""

    def __init__(self, model: SequenceModel, config: ConfigDict, search: Search):
        self._model, self._config, self._search = model, config, search
        slots = evaluated_slots(model, config)
        self._step = jax.jit(partial(_step, model, slots))
        self._start = jax.jit(
            lambda trained, lanes: trained.initial_state(model, lanes, slots), static_argnums=1
        )

    def scored(self, trained: Trained, tokens: Tokens, most: int) -> Iterator[Scored]:
        """The tokens of a text, as far as `most`, a step at a time."""
        plan = planned(tokens, self._model.window, self._config.eval, most)
        state = self._start(trained, plan.lanes)
        for now, ids in plan.steps(tokens):
            found, state = self._step(trained, state, ids, now)
            scored, features, log_p = jax.device_get(found)
            neighbours = self._search(np.asarray(features[scored], np.float32))
            match = neighbours.tokens == ids[:, 1:][scored][:, None]
            yield Scored(log_p[scored], neighbours.distances, match)

    def test(
        self, trained: Trained, splits: dict[str, Tokens], mixture: Mixture | None = None
    ) -> RetrievalResults:
        """Metrics of the splits "valid" and, where there is one, "test".

        mixture: None to fit it on the first FIT_TOKENS of "valid".
        """
        fitted_on, metrics = 0, {}
        for name in sorted(splits, key=lambda name: name != "valid"):
            tokens = splits[name]
            blocks, first = self.scored(trained, tokens, len(tokens)), []
            if mixture is None:
                first = list(_as_far_as(blocks, FIT_TOKENS))
                mixture = fitted(first)
                fitted_on = sum(len(block.log_p) for block in first)
            metrics[name] = _metrics(chain(first, blocks), mixture, tokens)
        return RetrievalResults(mixture, fitted_on, metrics)


def fitted(blocks: list[Scored]) -> Mixture:
    """The mixture of least loss. blocks: at least one, with at least one neighbour."""
    nearest = np.concatenate([block.distances.min(axis=-1) for block in blocks])
    nearest = nearest[np.isfinite(nearest)]
    scale = max(float(nearest.mean(dtype=np.float64)), 1e-6) if nearest.size else 1.0
    found = [_weighed(blocks, scale * factor) for factor in TEMPERATURES]
    return min(found, key=lambda pair: pair[0])[1]


def _weighed(blocks, temperature) -> tuple[float, Mixture]:
    """The least loss of any weight, and where it is."""
    from scipy import optimize  # slow to import, and not needed to train or to answer

    known = np.concatenate([block.neighbour_probability(temperature) for block in blocks])
    p = np.exp(np.float64(np.concatenate([block.log_p for block in blocks])))
    loss = lambda weight: -np.log((1 - weight) * p + weight * known).sum()
    best = optimize.minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded")
    return float(best.fun), Mixture(float(best.x), temperature)


def _as_far_as(blocks, most):
    """Blocks until so many tokens."""
    count = 0
    for block in blocks:
        yield block
        count += len(block.log_p)
        if count >= most:
            return


def _metrics(blocks, mixture, tokens):
    count = alone = together = 0
    for block in blocks:
        count += len(block.log_p)
        alone -= float(np.sum(block.log_p, dtype=np.float64))
        together += block.loss(mixture)
    of = lambda loss: {"loss": loss / count} | rates(loss / count, tokens)
    return of(together) | {"without": of(alone), "tokens": count}


def _step(model, num_slots, trained, state, ids, now: Pass):
    """Which tokens are scored, bool [L, T], features [L, T, D] and log p_LM of the tokens that
    came, float32 [L, T]; and the next state. ids: int32 [L, T + 1]."""
    scored, (features, logits, state, _) = read(
        model, num_slots, trained, state, ids, now, "with_features"
    )
    came = jnp.take_along_axis(logits, ids[:, 1:, None], axis=-1)[..., 0]
    return (scored, features, came - jax.nn.logsumexp(logits, axis=-1)), state
