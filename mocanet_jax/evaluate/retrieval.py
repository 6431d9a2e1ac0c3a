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


class LastTokens(NamedTuple):
    """The last tokens of A documents. logits: float32 [A, V], of the model alone. neighbours:
    of A queries. came: int32 [A], the tokens."""

    logits: np.ndarray
    neighbours: Neighbours
    came: np.ndarray

    def correct(self, mixture: Mixture) -> int:
        """How many are the likeliest token."""
        p = np.exp(np.float64(self.logits) - self.logits.max(axis=-1, keepdims=True))
        p *= (1 - mixture.weight) / p.sum(axis=-1, keepdims=True)
        shares = retrieval.neighbour_weights(self.neighbours.distances, mixture.temperature)
        rows = np.arange(len(p))[:, None]
        np.add.at(p, (rows, self.neighbours.tokens), mixture.weight * shares)
        return int(np.sum(p.argmax(axis=-1) == self.came))


class Scored(NamedTuple):
    """Tokens that were predicted. log_p: float32 [N], of the model alone. distances: [N, K], as
    of Neighbours. match: bool [N, K], whether a neighbour has the token that came. last: those
    of them that end a document; None of a text without documents."""

    log_p: np.ndarray
    distances: np.ndarray
    match: np.ndarray
    last: LastTokens | None = None

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
    the datastore; under "without" those of the model alone; tokens, how many were scored. Of a
    text of several documents also documents, and last_accuracy, the share of them whose last
    token is the likeliest."""

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
        state, ends = self._start(trained, plan.lanes), _ends(tokens)
        for now, ids in plan.steps(tokens):
            last = ends[
                np.minimum(now.start[:, None] + np.arange(1, ids.shape[1]), len(ends) - 1)
            ]
            found, state = self._step(trained, state, ids, now, last.argmax(axis=1))
            scored, features, log_p, logits = jax.device_get(found)
            neighbours = self._search(np.asarray(features[scored], np.float32))
            came = ids[:, 1:][scored]
            block = Scored(
                log_p[scored], neighbours.distances, neighbours.tokens == came[:, None]
            )
            last &= scored
            if last.any():
                of = last[scored]
                those = Neighbours(*(part[of] for part in neighbours))
                block = block._replace(
                    last=LastTokens(logits[last.any(axis=1)], those, came[of])
                )
            yield block

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
    count, documents = 0, 0
    loss, correct = np.zeros(2), np.zeros(2)
    both = (mixture, mixture._replace(weight=0.0))
    for block in blocks:
        count += len(block.log_p)
        loss += [block.loss(m) for m in both]
        if block.last is not None:
            documents += len(block.last.came)
            correct += [block.last.correct(m) for m in both]
    together, alone = ({"loss": x} | rates(x, tokens) for x in (loss / count).tolist())
    if documents:
        for of, right in zip((together, alone), correct.tolist(), strict=True):
            of["last_accuracy"] = right / documents
        together["documents"] = documents
    return together | {"without": alone, "tokens": count}


def _ends(tokens: Tokens) -> np.ndarray:
    """Whether a token is the last of its document, bool [N]; of one text alone none is."""
    ends = np.zeros(len(tokens), bool)
    if len(tokens.starts) > 1:
        ends[tokens.starts[1:] - 1] = True
        ends[-2] = True  # before the boundary that ends the text
    return ends


def _step(model, num_slots, trained, state, ids, now: Pass, last):
    """Which tokens are scored, bool [L, T], features [L, T, D] and log p_LM of the tokens that
    came, float32 [L, T], and logits [L, V] of one token a lane; and the next state.

    ids: int32 [L, T + 1]. last: int32 [L], which token that is. A step has at most one that
    ends a document in each lane, since a document begins a step.
    """
    scored, (features, logits, state, _) = read(
        model, num_slots, trained, state, ids, now, "with_features"
    )
    came = jnp.take_along_axis(logits, ids[:, 1:, None], axis=-1)[..., 0]
    of_last = logits[jnp.arange(len(last)), last]
    return (scored, features, came - jax.nn.logsumexp(logits, axis=-1), of_last), state
