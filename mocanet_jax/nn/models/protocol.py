"""What training and evaluation need of a model.

Axes: B batch, T time.
"""

from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import jax

from mocanet_jax.nn.config import LayerConfig


class Trained(NamedTuple):
    """What training leaves for evaluation: parameters, and the multiplier λ of the budget,
    float [], by which gates decide."""

    params: dict
    multiplier: jax.Array

    def apply(self, model: "Model", *inputs, **settings) -> Any:
        """`model.apply` with both."""
        return model.apply(
            {"params": self.params}, *inputs, multiplier=self.multiplier, **settings
        )

    def initial_state(self, model: "Model", batch: int, num_slots: int | None = None) -> Any:
        return model.apply({"params": self.params}, batch, num_slots, method="initial_state")


class Model(Protocol):
    """A Linen module, `apply(variables, tokens, state, mask, train=, hardness=, multiplier=) →
    (logits, state', ModelAux)`, with a method `initial_state(batch, num_slots)`.

    layer: sizes of its MOCA layers; None for a model that has none, and with them no memory to
    draw, no budget and no choice. token_shape: of one token, () or that of its parts.
    """

    token_shape: tuple[int, ...]

    @property
    def layer(self) -> LayerConfig | None: ...

    def init(self, rngs, *arguments, **settings) -> dict: ...

    def apply(self, variables, *arguments, **settings) -> Any: ...


class SequenceModel(Model, Protocol):
    """A model with logits at every token, of sequences of any length. `features` takes what
    `__call__` takes and returns [B, T, D] for logits, which `logits` turns into them;
    `with_features` returns (features, logits, state', ModelAux) of any such model.

    window: tokens that its state has room for, after which it sees none; None for a state that
    goes on forever."""

    window: int | None

    def slots_for(self, growth: Fraction, steps: int) -> int | None:
        """The `num_slots` of `initial_state` for sequences `growth` times as long as the
        longest in training, of so many steps; None where a state has one size."""
