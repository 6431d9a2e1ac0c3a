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
from mocanet_jax.nn.models.pooling import empty_pool, pooled, vector
from mocanet_jax.nn.models.segments import joined, segments
from mocanet_jax.nn.models.words import WordEmbedding
from mocanet_jax.nn.stack import ModelAux, ModelState


@dataclass(frozen=True)
class ClassifierSpec:
    """Sizes of a classifier and what its training drops.

    num_members: N, readers of the ensemble. num_pieces, max_pieces, piece_dim, word_dropout:
        of words (nn/models/words.py), with max_pieces their M.
    dropout: share of numbers set to 0 in training, in layer outputs and the pooled vector.
        embedding_dropout: the same in word vectors.
    segment: words that are read at a time, with the state carried on, which bounds memory; what
        reads from the end reads each segment by itself. 0 to read texts whole.
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
    segment: int = 0

    def __post_init__(self):
        check_reader(self, ("num_members", "piece_dim"))
        if self.segment < 0:
            raise ValueError(f"segment must not be negative, not {self.segment}")


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
    at each word are pooled (nn/models/pooling.py)."""

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
        directions = 1 + self.spec.bidirectional
        pool = empty_pool(tokens.shape[0], directions * self.spec.layer.width)
        settings = stack.RunSettings(train, hardness, multiplier)
        segment = self.spec.segment
        if not segment or tokens.shape[1] <= segment:
            (state, pool), aux = self._read((state, pool), tokens, mask, settings)
        else:
            (state, pool), aux = self._in_segments((state, pool), tokens, mask, settings)
        whole = self.drop(vector(pool), deterministic=not train)
        return self.head(whole), state, aux

    def _read(self, before, tokens, mask, settings):
        """before: the state, and the pool of what was read."""
        state, pool = before
        fixed = not settings.train
        x, live = self.drop_word(self.embed(tokens, settings.train), deterministic=fixed), mask
        x = x.astype(self.spec.layer.activations or x.dtype)
        if self.spec.bidirectional:
            x, live = both_ways(x, mask, self.direction)
        x, state, aux = stack.run(self.layers, x, live, state, settings)
        if self.spec.bidirectional:
            x = side_by_side(x)
        features = self.drop(self.norm(full(x)), deterministic=fixed)
        return (state, pooled(pool, features, self.attention(features), mask[..., None])), aux

    def _in_segments(self, before, tokens, mask, settings):
        """As `_read`, with the activations of one segment at a time. What reads from the end
        starts in each as it did in the first."""
        (batch, length), segment = mask.shape, self.spec.segment
        first = before[0]
        backwards = jnp.arange((1 + self.spec.bidirectional) * batch) >= batch

        def one(self, before, now):
            state = stack.with_resets(before[0], first, backwards)
            return self._read((state, before[1]), *now, settings)

        one = nn.remat(one, prevent_cse=False)
        loop = nn.scan(
            one,
            variable_broadcast="params",
            split_rngs={"params": False, "dropout": True, "router": True},
        )
        parts = segments(tokens, segment), segments(mask, segment)
        after, aux = loop(self, before, parts)
        live = jnp.sum(parts[1], axis=(1, 2))
        return after, joined(aux, live / jnp.sum(live), batch, length)


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
