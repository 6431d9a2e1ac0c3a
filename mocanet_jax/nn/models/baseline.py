"""What the baselines share: embed → N blocks → norm → logits for every token.

    x' = x + mixer(norm(x));  x'' = x' + mlp(norm(x'))

A *mixer* is the part that brings tokens together, and all that differs between them. Everything
is computed for every token, so there is nothing to route and nothing to save.

Axes: B batch, T time, D width, F hidden width of the MLP, V vocabulary.
"""

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.nn import stack
from mocanet_jax.nn.lstm import Kinds, kinds_of, normed
from mocanet_jax.nn.stack import ModelAux, ModelState

EMBEDDING_START = 0.02
"""Standard deviation of first embeddings (GPT-2: Radford et al., 2019): small, so that the tied
head starts without an opinion, and Adam's steps can turn a row."""


@dataclass(frozen=True)
class BaselineSpec:
    """Sizes of a baseline; each kind adds its mixer and that one's sizes.

    width: D. mlp_dim: F, 0 for blocks without an MLP. tied_head: logits by the transposed
        embedding; else by a matrix of their own. dropout: share in [0, 1) of the numbers that
        training sets to 0 in embeddings, in what each part adds, and in features.

    A mixer is a Linen module with `initial_state(batch, num_slots)` and
    `(z [B, T, D], mask bool [B, T], state) → (output [B, T, D], state')`, where masked tokens
    leave the state as it is.
    """

    num_layers: int
    width: int
    mlp_dim: int
    tied_head: bool
    dropout: float

    may_be_zero: ClassVar[tuple[str, ...]] = ("mlp_dim",)

    def __post_init__(self):
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name not in self.may_be_zero)
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"{field.name} must be at least {least}, not {value}")

        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")

    def mixer(self) -> nn.Module:
        raise NotImplementedError

    def mixer_flops(self) -> float:
        """Forward FLOPs per token of one mixer."""
        raise NotImplementedError

    def flops(self) -> dict[str, float]:
        """Forward FLOPs per token of one block, by component."""
        mlp = {"mlp": 6.0 * self.width * self.mlp_dim} if self.mlp_dim else {}
        return {"mixer": self.mixer_flops()} | mlp

    window: ClassVar[int | None] = None
    """Tokens that a state has room for by default; None for any number."""

    def slots_for(self, steps: int) -> int | None:
        """The `num_slots` of `initial_state` that hold a sequence of so many steps; None for a
        state whose size is fixed."""
        return None


class SwiGlu(nn.Module):
    """W₃ (silu(W₁ z) ⊙ W₂ z) (Shazeer, 2020, "GLU Variants Improve Transformer", eq. 6)."""

    hidden_dim: int

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        both = nn.Dense(2 * self.hidden_dim, use_bias=False, name="expand")(z)
        gate, value = jnp.split(both, 2, axis=-1)
        return nn.Dense(z.shape[-1], use_bias=False, name="contract")(nn.silu(gate) * value)


class Block(nn.Module):
    """A mixer and an MLP, each behind a norm and around a residual stream."""

    spec: BaselineSpec

    def setup(self):
        self.mixer_norm, self.mixer = nn.RMSNorm(), self.spec.mixer()
        if self.spec.mlp_dim:
            self.mlp_norm, self.mlp = nn.RMSNorm(), SwiGlu(self.spec.mlp_dim)
        self.drop = nn.Dropout(self.spec.dropout)

    def initial_state(self, batch: int, num_slots: int | None = None):
        return self.mixer.initial_state(batch, num_slots)

    def __call__(
        self, x: jax.Array, mask: jax.Array, state, train: bool, kinds: Kinds | None = None
    ):
        """x: [B, T, D]; mask: bool [B, T]; state: of the mixer; kinds: of the tokens that x
        embeds, as of a MOCA layer. Returns x'', state'."""
        z = normed(self.mixer_norm, self.mixer, x, kinds)
        mixed, state = self.mixer(z, mask, state)
        x = x + self.drop(mixed, deterministic=not train)
        if self.spec.mlp_dim:
            x = x + self.drop(self.mlp(self.mlp_norm(x)), deterministic=not train)
        return x, state


class Baseline(nn.Module):
    """`apply(params, tokens, state, mask) → (logits, state', aux)`, as MocaNet.

    The arguments `hardness` and `multiplier` change nothing: it has no gates and no pointers.
    train: dropout, which needs the "dropout" rng.
    """

    vocab_size: int
    spec: BaselineSpec

    layer: ClassVar[None] = None
    """It has no MOCA layer."""

    token_shape: ClassVar[tuple[()]] = ()

    def setup(self):
        spec = self.spec
        start = nn.initializers.normal(EMBEDDING_START)
        self.embed = nn.Embed(self.vocab_size, spec.width, embedding_init=start)
        self.layers = [Block(spec) for _ in range(spec.num_layers)]
        self.norm = nn.RMSNorm()
        self.drop = nn.Dropout(spec.dropout)
        if not spec.tied_head:
            self.head = nn.Dense(self.vocab_size, use_bias=False)

    @property
    def window(self) -> int | None:
        """As `BaselineSpec.window`."""
        return self.spec.window

    @nn.nowrap
    def slots_for(self, growth: Fraction, steps: int) -> int | None:
        """As `BaselineSpec.slots_for`."""
        return self.spec.slots_for(steps)

    def initial_state(self, batch: int, num_slots: int | None = None) -> ModelState:
        """State before a sequence: `apply(params, B, method="initial_state")`.

        num_slots: tokens that a Transformer's state has room for, its context if None;
        nothing to the others, whose state has one size.
        """
        return stack.initial_state(self.layers, batch, num_slots)

    def __call__(
        self,
        tokens: jax.Array,
        state: ModelState | None = None,
        mask: jax.Array | None = None,
        train: bool = False,
        hardness: jax.Array | float = 1.0,
        multiplier: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """tokens: int [B, T] in [0, V). mask: bool [B, T], False for padding, which leaves the
        state untouched. state: None for a sequence that is given whole, with room for its T
        tokens alone; one that comes in segments starts from `initial_state`.
        Returns logits, float [B, T, V].
        """
        return self.with_features(tokens, state, mask, train)[1:]

    def with_features(
        self, tokens, state=None, mask=None, train=False, hardness=1.0, multiplier=0.0
    ) -> tuple[jax.Array, jax.Array, ModelState, ModelAux]:
        """As `__call__`, with what the head sees in front: float [B, T, D]."""
        x, state, aux = self.features(tokens, state, mask, train)
        return x, self.logits(x), state, aux

    def features(
        self, tokens, state=None, mask=None, train=False, hardness=1.0, multiplier=0.0
    ) -> tuple[jax.Array, ModelState, ModelAux]:
        """As `__call__`, before the head: float [B, T, D]."""
        mask = stack.checked_mask(tokens, mask)
        if state is None:
            state = self.initial_state(*tokens.shape)
        x, states = self.drop(self.embed(tokens), deterministic=not train), []
        kinds = kinds_of(self.embed.embedding, tokens, train)
        for layer, before in zip(self.layers, state.layers, strict=True):
            x, after = layer(x, mask, before, train, kinds)
            states.append(after)
            kinds = None
        x = self.drop(self.norm(x), deterministic=not train)
        return x, ModelState(tuple(states)), everything_on()

    def logits(self, features: jax.Array) -> jax.Array:
        """Float [..., D] of `features`, of any tokens, to logits, float [..., V]."""
        if self.spec.tied_head:
            return self.embed.attend(features)
        return self.head(features)


def everything_on() -> ModelAux:
    """Of a model without parts that could be off."""
    nothing = jnp.zeros(())
    return ModelAux(
        layers=(),
        balance_loss=nothing,
        z_loss=nothing,
        dropped=jnp.zeros((), jnp.int32),
        usage=budget.AlwaysOn(),
        expected_share=nothing,
        penalty=nothing,
    )
