"""Small classifiers of many kinds, with random parameters.

Axes: N members, B batch, T time, M pieces of a word, D width, C classes.
"""

from functools import lru_cache

import jax
import numpy as np

from mocanet_jax.nn.models.classifier import ClassifierSpec, MocaClassifier
from tests.nn import small

VOCABULARY, CLASSES, PIECES, M = 13, 3, 17, 2
N, B, T = 2, 3, 7
D = small.EASY["width"]
SHARES = ("word_dropout", "embedding_dropout", "dropout")
MASK = np.arange(T) < np.array([[T], [4], [2]])
QUICK = small.QUICK

KINDS = {
    "both": {},
    "parallel": {"time": "parallel"},
    "one": {"bidirectional": False},
    "topk": {"routing": "topk"},
    "dropout": dict.fromkeys(SHARES, 0.2),
    # Layers of a controller alone, which compile in no time.
    "bare": {"num_experts": 0, "heads": ()},
}
KINDS["bare one"] = KINDS["bare"] | KINDS["one"]
KINDS["one in segments"] = KINDS["one"] | {"segment": 3}
KINDS["in segments"] = {"segment": 3}


@lru_cache
def classifier(kind="both"):
    own = ("bidirectional", "segment", *SHARES)
    changes = KINDS[kind]
    spec = ClassifierSpec(
        vocab_size=VOCABULARY,
        num_classes=CLASSES,
        num_layers=1,
        layer=small.layer(**{name: x for name, x in changes.items() if name not in own}),
        num_pieces=PIECES,
        max_pieces=M,
        piece_dim=4,
        num_members=N,
        **{name: x for name, x in changes.items() if name in own},
    )
    return MocaClassifier(spec)


def random_tokens(batch=B, length=T, seed=0):
    """Words and their pieces; some pieces are missing."""
    rng = np.random.default_rng(seed)
    words = rng.integers(1, VOCABULARY, (batch, length, 1))
    return np.concatenate([words, rng.integers(0, PIECES, (batch, length, M))], axis=-1)


@lru_cache
def shapes(kind):
    with jax.enable_x64(False):
        return jax.eval_shape(classifier(kind).init, jax.random.key(0), random_tokens())


@lru_cache
def random_params(kind):
    """Numpy arrays, float64."""
    rng = np.random.default_rng(0)
    draw = lambda path, leaf: small.half_open(path, 0.5 * rng.normal(size=leaf.shape))
    return jax.tree_util.tree_map_with_path(draw, shapes(kind))


@lru_cache
def compiled(kind):
    """(params, tokens, mask) → (logits, settled state', aux) of evaluation, jitted."""

    def run(params, tokens, mask):
        settings = {"multiplier": small.MULTIPLIER}
        logits, state, aux = classifier(kind).apply(params, tokens, None, mask, **settings)
        return logits, jax.vmap(small.settled)(state), aux

    return jax.jit(run, compiler_options=QUICK)


def run(kind, tokens, mask=None, params=None):
    mask = np.ones(tokens.shape[:2], bool) if mask is None else mask
    return compiled(kind)(random_params(kind) if params is None else params, tokens, mask)
