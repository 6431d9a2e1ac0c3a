"""The classifier: words → MOCA layers in both directions → pooling → class logits.

Axes: N members, B batch, T time, M pieces of a word, D width, C classes.
"""

from dataclasses import dataclass
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.precision import full
from mocanet_jax.nn import stack
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.models.words import WordEmbedding
from mocanet_jax.nn.stack import ModelAux, ModelState


@dataclass(frozen=True)
class ClassifierSpec:
    """Sizes of a classifier and what its training drops.

    num_members: N, readers of the ensemble. num_pieces, max_pieces, piece_dim, word_dropout:
        of words (nn/models/words.py), with max_pieces their M.
    dropout: share of numbers set to 0 in training, in layer outputs and the pooled vector.
        embedding_dropout: the same in word vectors.
    """

    vocab_size: int
    num_classes: int
    num_layers: int
    layer: LayerConfig
    num_pieces: int
    max_pieces: int
    piece_dim: int
    num_members: int = 1
    bidirectional: bool = True
    word_dropout: float = 0.0
    embedding_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        check_reader(self, ("num_members", "piece_dim"))


def check_reader(spec: Any, sizes: tuple[str, ...]) -> None:
    """Raises ValueError for shares of dropout and for sizes, by their names, that are out of
    range."""
    for name in ("word_dropout", "embedding_dropout", "dropout"):
        if not 0 <= getattr(spec, name) < 1:
            raise ValueError(f"{name} must be in [0, 1), not {getattr(spec, name)}")
    for name in sizes:
        if getattr(spec, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(spec, name)}")


class Member(nn.Module):
    """One reader of the ensemble, with parameters of its own.

    The same layers read the sequence forwards and from its end, distinguished by a vector of
    the direction, so that a word is seen with what follows it. The features of both directions
    at each word are pooled three ways: mean, maximum, and a mean weighted by learned attention
    (as Lin et al., 2017, with one hop)."""

    spec: ClassifierSpec

    def setup(self):
        spec = self.spec
        self.embed = WordEmbedding(
            spec.vocab_size,
            spec.num_pieces,
            spec.piece_dim,
            spec.layer.width,
            spec.word_dropout,
        )
        self.layers = stack.build(spec.layer, spec.num_layers)
        if spec.bidirectional:
            start = nn.initializers.normal(0.3)
            self.direction = self.param("direction", start, (2, 1, 1, spec.layer.width))
        self.norm = nn.RMSNorm()
        self.attention = nn.Dense(1, use_bias=False)
        self.head = nn.Dense(spec.num_classes)
        self.drop_word = nn.Dropout(spec.embedding_dropout)
        self.drop = nn.Dropout(spec.dropout)

    def initial_state(self, batch, num_slots):
        return stack.initial_state(
            self.layers, (1 + self.spec.bidirectional) * batch, num_slots
        )

    def __call__(self, tokens, state, mask, train, hardness, multiplier):
        fixed = not train
        x, live = self.drop_word(self.embed(tokens, train), deterministic=fixed), mask
        x = x.astype(self.spec.layer.activations or x.dtype)
        if self.spec.bidirectional:
            x, live = both_ways(x, mask, self.direction)
        settings = stack.RunSettings(train, hardness, multiplier)
        x, state, aux = stack.run(self.layers, x, live, state, settings)
        if self.spec.bidirectional:
            x = side_by_side(x)
        features = self.drop(self.norm(full(x)), deterministic=fixed)
        whole = pooled(features, self.attention, mask[..., None])
        return self.head(self.drop(whole, deterministic=fixed)), state, aux


def both_ways(
    x: jax.Array, mask: jax.Array, direction: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A batch [B, T, D] and the same from its end, each with the vector of its direction,
    [2, 1, 1, D]: [2 B, T, D]. mask: bool [B, T], to [2 B, T]."""
    first, last = direction.astype(x.dtype)
    x = jnp.concatenate([x + first, jnp.flip(x, 1) + last])
    return x, jnp.concatenate([mask, jnp.flip(mask, 1)])


def side_by_side(x: jax.Array) -> jax.Array:
    """What both directions of `both_ways` became, [2 B, T, D], at each word: [B, T, 2 D]."""
    forward, backward = jnp.split(x, 2)
    return jnp.concatenate([forward, jnp.flip(backward, 1)], axis=-1)


def pooled(features: jax.Array, attention: nn.Module, live: jax.Array) -> jax.Array:
    """The mean of features over time, their maximum, and their mean by learned attention.

    features: float [B, T, n]. attention: features → scores, [B, T, 1]. live: bool [B, T, 1].
    Returns [B, 3n].
    """
    mean = jnp.sum(features * live, axis=1) / jnp.sum(live, axis=1)
    highest = jnp.max(jnp.where(live, features, -jnp.inf), axis=1)
    weights = nn.softmax(attention(features), axis=1, where=live)
    attended = jnp.sum(jnp.where(live, weights, 0) * features, axis=1)
    return jnp.concatenate([mean, highest, attended], axis=-1)


class MocaClassifier(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`, one decision a sequence.

    An ensemble: N members that differ in their first parameters and their dropout read the
    same text, and the mean of their logits decides (Hansen and Salamon, 1990; deep ensembles,
    Lakshminarayanan et al., 2017). They are one batched computation.
    """

    spec: ClassifierSpec

    @property
    def layer(self) -> LayerConfig:
        """Sizes of every layer."""
        return self.spec.layer

    @property
    def token_shape(self) -> tuple[int]:
        """A word and its pieces."""
        return (1 + self.spec.max_pieces,)

    def setup(self):
        each = {
            "axis_size": self.spec.num_members,
            "variable_axes": {"params": 0},
            "split_rngs": {"params": True, "dropout": True, "router": True},
        }
        members = nn.vmap(
            Member,
            methods={
                "initial_state": {**each, "in_axes": (None, None)},
                "__call__": {**each, "in_axes": (None, 0, None, None, None, None)},
            },
        )
        self.members = members(self.spec)

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence, [N, B, …]; with two directions [N, 2·B, …]."""
        return self.members.initial_state(batch, num_slots)

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        hardness: jax.Array | float = 1.0,
        multiplier: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T, 1 + M], a word and its pieces (nn/models/words.py).
        mask: bool [B, T], False for padding; a sequence has at least one unmasked token.
        train: drops words and numbers, which needs the "dropout" rng, and bounds experts.
        hardness: of pointer shifts and other decisions, in [0, 1].
        multiplier: λ ≥ 0 of the budget, in logits.
        Returns logits, float [N, B, C], whose mean over N decides. The arrays of state and of
        aux.layers are [N, B, …]; with two directions [N, 2·B, …], first forwards, then read
        from the end with their time axis reversed.
        """
        chex.assert_shape(tokens, (None, None, 1 + self.spec.max_pieces))
        if state is None:
            state = self.initial_state(tokens.shape[0])
        mask = stack.checked_mask(tokens[..., 0], mask)
        logits, state, aux = self.members(tokens, state, mask, train, hardness, multiplier)
        total = lambda parts: jnp.sum(parts, axis=0)
        return (
            logits,
            state,
            ModelAux(
                aux.layers,
                jnp.mean(aux.balance_loss),
                jnp.mean(aux.z_loss),
                total(aux.dropped),
                jax.tree.map(total, aux.usage),
                jnp.mean(aux.expected_share),
                jnp.mean(aux.penalty),
            ),
        )
