"""Where a model chooses to spend: the compute of every token by part.

Axes: B batch, T time, H memory heads, K active experts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.layer import LayerAux


class Spending(NamedTuple):
    """What each part took at each token, as shares of the compute of everything on: float
    arrays of one shape. The mean of `total` over tokens is their usage (core/budget.py).
    """

    experts: np.ndarray
    writes: np.ndarray
    reads: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.experts + self.writes + self.reads


def spending(config: LayerConfig, layers: Sequence[LayerAux]) -> Spending:
    """The mean over layers, which all have the same FLOPs; arrays [..., T].

    layers: auxiliary outputs of each, with arrays [..., T, H] and [..., T, K]. A masked
        token spends nothing. Parts that the model lacks spend nothing; it has at least one.
    """
    experts = [aux.experts.computed for aux in layers if aux.experts is not None]
    writes = [aux.memory.writes for aux in layers if aux.memory is not None]
    reads = [aux.memory.reads for aux in layers if aux.memory is not None]
    count = lambda gates: np.mean([np.sum(g, axis=-1) for g in gates], axis=0) if gates else 0.0
    counts = count(experts), count(writes), count(reads)
    parts = [unit * n for unit, n in zip(config.unit_shares, counts, strict=True)]
    return Spending(*np.broadcast_arrays(*parts))
