"""What training and evaluation need of a model.

Axes: B batch, T time.
"""

from fractions import Fraction
from typing import Any, Protocol

from mocanet_jax.nn.layer import LayerSpec


class Model(Protocol):
    """A Linen module, `apply(variables, tokens, state, mask, train=, rounding=, …) →
    (logits, state', ModelAux)`, with a method `initial_state(batch, num_slots)`; a task has
    arguments of its own for its models (`Task.asked`).

    layer: sizes of its MOCA layers; None for a model that has none, and with them no memory to
    draw, no price of compute and no choice.
    """

    @property
    def layer(self) -> LayerSpec | None: ...

    def init(self, rngs, *arguments, **settings) -> dict: ...

    def apply(self, variables, *arguments, **settings) -> Any: ...


class SequenceModel(Model, Protocol):
    """A model that says something at every token, of sequences of any length."""

    def slots_for(self, growth: Fraction, steps: int) -> int | None:
        """The `num_slots` of `initial_state` for sequences `growth` times as long as the
        longest in training, of so many steps; None where a state has one size."""
