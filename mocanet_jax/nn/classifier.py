"""The classifier: words → MOCA layers in both directions → pooling → class logits.

Axes: N members, B batch, T time, M pieces of a word, D width, C classes.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.nn import stack
from mocanet_jax.nn.layer import LayerSpec, MocaLayer
from mocanet_jax.nn.stack import ModelAux, ModelState
from mocanet_jax.nn.words import WordEmbedding


class Member(nn.Module):
    """One reader of the ensemble, with parameters of its own.

    The same layers read the sequence forwards and from its end, told which by a vector of the
    direction, so that a word is seen with what follows it. What both directions say of each
    word is pooled three ways: mean, maximum, and a mean weighted by learned attention (as Lin
    et al., 2017, with one hop).
    """

    vocab_size: int
    num_classes: int
    num_layers: int
    layer: LayerSpec
    num_pieces: int
    max_pieces: int
    piece_dim: int
    bidirectional: bool
    word_dropout: float
    embedding_dropout: float
    dropout: float

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

    def initial_state(self, batch, num_slots):
        return stack.initial_state(self.layers, (1 + self.bidirectional) * batch, num_slots)

    def __call__(self, tokens, state, mask, train, rounding):
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


class MocaClassifier(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`, one decision a sequence.

    An ensemble: N members that differ in their first parameters and their dropout read the
    same text, and the mean of their logits decides (Hansen and Salamon, 1990; deep ensembles,
    Lakshminarayanan et al., 2017). They are one batched computation.

    dropout: share of numbers set to 0 in training, in layer outputs and the
    pooled vector. embedding_dropout: the same in word vectors. word_dropout: see WordEmbedding.
    """

    num_members: int
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
        each = {
            "axis_size": self.num_members,
            "variable_axes": {"params": 0},
            "split_rngs": {"params": True, "dropout": True},
        }
        members = nn.vmap(
            Member,
            methods={
                "initial_state": {**each, "in_axes": (None, None)},
                "__call__": {**each, "in_axes": (None, 0, None, None, None)},
            },
        )
        self.members = members(
            self.vocab_size,
            self.num_classes,
            self.num_layers,
            self.layer,
            self.num_pieces,
            self.max_pieces,
            self.piece_dim,
            self.bidirectional,
            self.word_dropout,
            self.embedding_dropout,
            self.dropout,
        )

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence, [N, B, …]; with two directions [N, 2·B, …]."""
        return self.members.initial_state(batch, num_slots)

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
        rounding: of pointer shifts, in [0, 1].
        Returns logits, float [N, B, C], whose mean over N decides. The arrays of state and of
        aux.layers are [N, B, …]; with two directions [N, 2·B, …], first forwards, then read
        from the end with their time axis reversed.
        """
        chex.assert_shape(tokens, (None, None, 1 + self.max_pieces))
        if state is None:
            state = self.initial_state(len(tokens))
        if mask is None:
            mask = jnp.ones(tokens.shape[:2], bool)
        chex.assert_shape(mask, tokens.shape[:2])
        chex.assert_type([tokens, mask], [int, bool])
        logits, state, aux = self.members(tokens, state, mask, train, rounding)
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
            ),
        )
