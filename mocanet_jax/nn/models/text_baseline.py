"""Baselines of text classification: words → blocks in both directions → pooling → class logits.

Words, directions and pooling are those of the classifier (classifier.py), so that only what
mixes words differs; without blocks it is the mean of word vectors.

Axes: B batch, T time, M pieces of a word, D width, C classes.
"""

from dataclasses import dataclass
from typing import ClassVar

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.nn import stack
from mocanet_jax.nn.models.baseline import BaselineSpec, Block, everything_on
from mocanet_jax.nn.models.classifier import both_ways, check_reader, side_by_side
from mocanet_jax.nn.models.pooling import empty_pool, pooled, vector
from mocanet_jax.nn.models.words import WordEmbedding
from mocanet_jax.nn.stack import ModelAux, ModelState


@dataclass(frozen=True)
class TextBaselineSpec:
    """width: D. blocks: what mixes words, of the same width; None for nothing, so that logits
    are linear in the mean of word vectors. Other sizes and shares as of ClassifierSpec.
    """

    vocab_size: int
    num_classes: int
    width: int
    blocks: BaselineSpec | None
    num_pieces: int
    max_pieces: int
    piece_dim: int
    bidirectional: bool = True
    word_dropout: float = 0.0
    embedding_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        check_reader(self, ("width", "piece_dim"))

    @property
    def directions(self) -> int:
        """1 where nothing depends on the order of words."""
        return 1 + (self.bidirectional and self.blocks is not None)


class TextBaseline(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`, as MocaClassifier.

    A text is read whole: the state that is given changes nothing, as do `hardness` and
    `multiplier`. train: dropout, which needs the "dropout" rng.
    """

    spec: TextBaselineSpec

    layer: ClassVar[None] = None
    """It has no MOCA layer."""

    @property
    def token_shape(self) -> tuple[int]:
        """A word and its pieces."""
        return (1 + self.spec.max_pieces,)

    def setup(self):
        spec = self.spec
        self.embed = WordEmbedding(
            spec.vocab_size, spec.num_pieces, spec.piece_dim, spec.width, spec.word_dropout
        )
        count = spec.blocks.num_layers if spec.blocks else 0
        self.layers = [Block(spec.blocks) for _ in range(count)]
        if count:
            if spec.bidirectional:
                start = nn.initializers.normal(0.3)
                self.direction = self.param("direction", start, (2, 1, 1, spec.width))
            self.norm = nn.RMSNorm()
            self.attention = nn.Dense(1, use_bias=False)
        self.head = nn.Dense(spec.num_classes)
        self.drop_word = nn.Dropout(spec.embedding_dropout)
        self.drop = nn.Dropout(spec.dropout)

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a text, [directions · B, …]."""
        return stack.initial_state(self.layers, self.spec.directions * batch, num_slots)

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        hardness: jax.Array | float = 1.0,
        multiplier: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T, 1 + M], a word and its pieces. mask: bool [B, T], False for
        padding; a text has at least one unmasked token. Returns logits, float [1, B, C]: an
        ensemble of one."""
        chex.assert_shape(tokens, (None, None, 1 + self.spec.max_pieces))
        mask = stack.checked_mask(tokens[..., 0], mask)
        live = mask[..., None]
        x = self.drop_word(self.embed(tokens, train), deterministic=not train)
        if not self.layers:
            features = jnp.sum(x * live, axis=1) / jnp.sum(live, axis=1)
            state = ModelState(())
        else:
            x, state = self._read(x, mask, train)
            x = self.drop(self.norm(x), deterministic=not train)
            pool = empty_pool(x.shape[0], x.shape[-1])
            features = vector(pooled(pool, x, self.attention(x), live))
        logits = self.head(self.drop(features, deterministic=not train))
        return logits[None], state, everything_on()

    def _read(self, x, mask, train):
        """x: [B, T, D]. Returns [B, T, directions · D] and the state behind the last words."""
        both = self.spec.bidirectional
        if both:
            x, mask = both_ways(x, mask, self.direction)
        states = []
        for layer in self.layers:
            x, after = layer(x, mask, layer.initial_state(*mask.shape), train)
            states.append(after)
        if both:
            x = side_by_side(x)
        return x, ModelState(tuple(states))
