"""The classifier: words → MOCA layers in both directions → pooling → class logits.

Axes: B batch, T time, M pieces of a word, D width, C classes.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.nn import stack
from mocanet_jax.nn.layer import LayerSpec, MocaLayer
from mocanet_jax.nn.stack import ModelAux, ModelState
from mocanet_jax.nn.words import WordEmbedding


class MocaClassifier(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`, one decision a sequence.

    The same layers also read the sequence from its end, told so by a vector of the
    direction, so that a word is seen with what follows it. What both directions say of each
    word is pooled three ways: mean, maximum, and a mean weighted by learned attention (as Lin
    et al., 2017, with one hop).

    dropout: share of numbers set to 0 in training, in word vectors, layer outputs and the
        pooled vector.
    """

    vocab_size: int
    num_classes: int
    num_layers: int
    layer: LayerSpec
    num_pieces: int
    max_pieces: int
    piece_dim: int
    bidirectional: bool = True
    word_dropout: float = 0.0
    embedding_dropout: float = 0.0
    dropout: float = 0.0

    def setup(self):
        self.embed = WordEmbedding(
            self.vocab_size,
            self.num_pieces,
            self.piece_dim,
            self.layer.embedding_dim,
            self.word_dropout,
        )
        self.layers = [MocaLayer(self.layer) for _ in range(self.num_layers)]
        if self.bidirectional:
            start = nn.initializers.normal(0.3)
            self.direction = self.param("direction", start, (2, 1, 1, self.layer.embedding_dim))
        self.norm = nn.RMSNorm()
        self.attention = nn.Dense(1, use_bias=False)
        self.head = nn.Dense(self.num_classes)
        self.drop_word = nn.Dropout(self.embedding_dropout)
        self.drop = nn.Dropout(self.dropout)

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence; with two directions that of [2·B], forwards first."""
        return stack.initial_state(self.layers, (1 + self.bidirectional) * batch, num_slots)

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        rounding: jax.Array | float = 1.0,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T, 1 + M], a word and its pieces (nn/words.py).
        mask: bool [B, T], False for padding; a sequence has at least one unmasked token.
        train: drops words and numbers, which needs the "dropout" rng, and bounds experts.
        rounding: of pointer shifts, [] or [B], in [0, 1].
        Returns logits, float [B, C]. With two directions state and aux are of [2·B], first
        forwards, then those read from the end, with their time axis reversed.
        """
        chex.assert_shape(tokens, (None, None, 1 + self.max_pieces))
        if state is None:
            state = self.initial_state(len(tokens))
        if mask is None:
            mask = jnp.ones(tokens.shape[:2], bool)
        chex.assert_type([tokens, mask], [int, bool])
        fixed = not train
        x, live = self.drop_word(self.embed(tokens, train), deterministic=fixed), mask
        if self.bidirectional:
            x = jnp.concatenate([x + self.direction[0], jnp.flip(x, 1) + self.direction[1]])
            live = jnp.concatenate([mask, jnp.flip(mask, 1)])
        x, states, did = stack.run(self.layers, x, live, state.layers, train, rounding)
        if self.bidirectional:
            forward, backward = jnp.split(x, 2)
            x = jnp.concatenate([forward, jnp.flip(backward, 1)], axis=-1)
        features = self.drop(self.norm(x), deterministic=fixed)
        pooled = self.drop(self._pool(features, mask[..., None]), deterministic=fixed)
        return self.head(pooled), ModelState(states), stack.collect(did)

    def _pool(self, features, live):
        """features: [B, T, n]; live: bool [B, T, 1]. Returns [B, 3n]."""
        mean = jnp.sum(features * live, axis=1) / jnp.sum(live, axis=1)
        highest = jnp.max(jnp.where(live, features, -jnp.inf), axis=1)
        weights = nn.softmax(self.attention(features), axis=1, where=live)
        attended = jnp.sum(jnp.where(live, weights, 0) * features, axis=1)
        return jnp.concatenate([mean, highest, attended], axis=-1)
