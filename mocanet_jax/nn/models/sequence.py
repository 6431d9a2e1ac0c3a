"""The model: embed → N MOCA layers → norm → logits for every token.

Axes: B batch, T time, D width, V vocabulary, S slots.
"""

import math
from fractions import Fraction
from typing import ClassVar

import flax.linen as nn
import jax

from mocanet_jax.core.precision import product
from mocanet_jax.nn import stack
from mocanet_jax.nn.cache import Cache, CacheConfig
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.lstm import kinds_of
from mocanet_jax.nn.stack import ModelAux, ModelState

UNTIED_START = 0.02
"""Standard deviation of first embeddings that are not the head."""


class MocaNet(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`.

    Every token's logits depend on that token and those before it, so a sequence may be
    fed whole or in segments with the state carried. The head is the transposed embedding,
    scaled by D^-1/2 (Press and Wolf, 2017): what the memory returns is then decoded by the
    table that encoded it.

    tied_head: False for a head with parameters of its own; embeddings then start at a standard
        deviation of 0.02 (as those of GPT-2) and not at 1, which on text learns far faster.
    cache: of the last tokens, whose copies compete with the logits (nn/cache.py); None for
        none.
    """

    vocab_size: int
    num_layers: int
    layer: LayerConfig
    tied_head: bool = True
    cache: CacheConfig | None = None

    token_shape: ClassVar[tuple[()]] = ()
    window: ClassVar[None] = None

    def setup(self):
        start, dtype = 1.0 if self.tied_head else UNTIED_START, self.layer.activations
        self.embed = nn.Embed(
            self.vocab_size,
            self.layer.width,
            embedding_init=nn.initializers.normal(start),
            dtype=dtype,
        )
        self.layers = stack.build(self.layer, self.num_layers)
        self.norm = nn.RMSNorm(dtype=dtype)
        self.drop = nn.Dropout(self.layer.dropout)
        if self.cache:
            self.copies = Cache(self.cache, name="cache")
        if not self.tied_head:
            shape = (self.layer.width, self.vocab_size)
            self.head = self.param("head", nn.initializers.lecun_normal(), shape)

    @nn.nowrap
    def slots_for(self, growth: Fraction, steps: int) -> int | None:
        """The `num_slots` of `initial_state` for sequences `growth` times as long as those in
        training: slots in the same proportion; None without a memory of slots."""
        parts = [part.num_slots for part in (self.layer.memory, self.cache) if part]
        return math.ceil(max(parts) * growth) if parts else None

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence: `apply(params, B, method="initial_state")`.

        num_slots: enlarges every memory to S slots. Pointer heads (ring, loop, stack),
            association and priority queue heads use the extra slots, and so does a cache;
            content heads do not.
        """
        state = stack.initial_state(self.layers, batch, num_slots)
        if self.cache:
            state = state._replace(cache=self.copies.initial_state(batch, num_slots))
        return state

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        hardness: jax.Array | float = 1.0,
        multiplier: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T] in [0, V). state: None for a fresh sequence.
        mask: bool [B, T], False for padding, which leaves the state untouched.
        train: experts have bounded room, so that a step has a fixed cost; needs the "router"
            rng where they explore, and the "dropout" rng where there is dropout.
        hardness: of pointer shifts and other decisions, [] or [B], in [0, 1]; 1 moves pointers
            by whole slots.
        multiplier: λ ≥ 0 of the budget, in logits; for evaluation the one that training ended
            with.
        Returns logits, float32 [B, T, V].
        """
        return self.with_features(tokens, state, mask, train, hardness, multiplier)[1:]

    def with_features(
        self, tokens, state=None, mask=None, train=False, hardness=1.0, multiplier=0.0
    ) -> tuple[jax.Array, jax.Array, ModelState, ModelAux]:
        """As `__call__`, with what the head sees in front: float [B, T, D]."""
        mask = stack.checked_mask(tokens, mask)
        x, state, aux = self._run(tokens, state, mask, train, hardness, multiplier)
        logits = self.logits(x)
        if self.cache:
            logits, cache, copied = self.copies(logits, x, tokens, mask, state.cache)
            state, aux = state._replace(cache=cache), aux._replace(copied=copied)
        return x, logits, state, aux

    def features(
        self, tokens, state=None, mask=None, train=False, hardness=1.0, multiplier=0.0
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """As `__call__`, before the head: float [B, T, D]. Raises ValueError for a model with a
        cache, whose logits do not depend on these alone."""
        if self.cache:
            raise ValueError("a model with a cache has no logits of features alone")
        mask = stack.checked_mask(tokens, mask)
        return self._run(tokens, state, mask, train, hardness, multiplier)

    def _run(self, tokens, state, mask, train, hardness, multiplier):
        if state is None:
            state = self.initial_state(tokens.shape[0])
        settings = stack.RunSettings(train, hardness, multiplier)
        x = self.drop(self.embed(tokens), deterministic=not train)
        kinds = kinds_of(self.embed.embedding, tokens, train)
        x, after, aux = stack.run(self.layers, x, mask, state, settings, kinds)
        state = after._replace(cache=state.cache)
        return self.drop(self.norm(x), deterministic=not train), state, aux

    def logits(self, features: jax.Array) -> jax.Array:
        """Float [..., D] of `features`, of any tokens, to logits, float32 [..., V]."""
        if not self.tied_head:
            return product(features, self.head)
        return product(features, self.embed.embedding.T) * self.layer.width**-0.5
