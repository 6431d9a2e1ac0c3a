"""The model: embed → N MOCA layers → norm → logits for every token.

Axes: B batch, T time, D width, V vocabulary, S slots.
"""

import math
from fractions import Fraction

import flax.linen as nn
import jax

from mocanet_jax.core.precision import product
from mocanet_jax.nn import stack
from mocanet_jax.nn.layer import LayerSpec
from mocanet_jax.nn.stack import ModelAux, ModelState


class MocaNet(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`.

    Every token's logits depend on that token and those before it, so a sequence may be
    fed whole or in segments with the state carried. The head is the transposed embedding,
    scaled by D^-1/2 (Press and Wolf, 2017): what the memory returns is then decoded by the
    table that encoded it.
    """

    vocab_size: int
    num_layers: int
    layer: LayerSpec

    def setup(self):
        self.embed = nn.Embed(
            self.vocab_size,
            self.layer.embedding_dim,
            embedding_init=nn.initializers.normal(1.0),
            dtype=self.layer.dtype,
        )
        self.layers = stack.build(self.layer, self.num_layers)
        self.norm = nn.RMSNorm(dtype=self.layer.dtype)
        self.price = stack.price(self, self.layer)

    @nn.nowrap
    def slots_for(self, growth: Fraction, steps: int) -> int:
        """The `num_slots` of `initial_state` for sequences `growth` times as long as those in
        training: slots in the same proportion."""
        return math.ceil(self.layer.num_memory_slots * growth)

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence: `apply(params, B, method="initial_state")`.

        num_slots: enlarges every memory to S slots; only heads by location and by
            association use the extra room.
        """
        return stack.initial_state(self.layers, batch, num_slots)

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        rounding: jax.Array | float = 1.0,
        asked: jax.Array | None = None,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T] in [0, V). state: None for a fresh sequence.
        mask: bool [B, T], False for padding, which leaves the state untouched.
        train: experts have bounded room, so that a step has a fixed cost.
        rounding: of pointer shifts, [] or [B], in [0, 1]; 1 moves pointers by whole slots.
        asked: int [B, N], the steps whose logits are wanted; None for all T.
        Returns logits, float32 [B, N or T, V].
        """
        mask = stack.checked_mask(tokens, mask)
        if state is None:
            state = self.initial_state(tokens.shape[0])
        x = self.embed(tokens)
        x, states, did = stack.run(
            self.layers, x, mask, state.layers, train, rounding, self.price
        )
        said = self.norm(stack.at_steps(x, asked))
        logits = product(said, self.embed.embedding.T) * self.layer.embedding_dim**-0.5
        return logits, ModelState(states), stack.collect(did, self.price)
