"""A baseline of LSTM layers (nn/lstm.py).

Axes: D width.
"""

from dataclasses import dataclass

import flax.linen as nn

from mocanet_jax.nn.lstm import Lstm
from mocanet_jax.nn.models.baseline import BaselineSpec


@dataclass(frozen=True)
class LstmSpec(BaselineSpec):
    """Hidden and cell state are D wide."""

    def mixer(self) -> nn.Module:
        return Lstm(self.width)

    def mixer_flops(self) -> float:
        return self.mixer().flops()
