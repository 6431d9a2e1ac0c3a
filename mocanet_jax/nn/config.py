"""Configs of a layer, nested, with defaults; the only place that checks its sizes.

LayerConfig(width=128, memory=MemoryConfig(heads=(Ring(1), Content(2))), experts=None)
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from mocanet_jax.core import gating
from mocanet_jax.core.budget import BudgetConfig, Flops, Shares, memory_flops
from mocanet_jax.core.narrow import check_bits
from mocanet_jax.nn.experts import MlpExpert, expert_flops
from mocanet_jax.nn.heads import Ring
from mocanet_jax.nn.heads.base import Head, Sizes
from mocanet_jax.nn.memory import head_names
from mocanet_jax.nn.router import Groups


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class AutomataConfig:
    """Finite automata beside each other (nn/automata.py). count: A. states: N of each. maps: K
    permutations of them, of which a token chooses one."""

    count: int = 4
    states: int = 8
    maps: int = 8

    def __post_init__(self):
        for name, least in {"count": 1, "states": 2, "maps": 1}.items():
            size = getattr(self, name)
            valid = isinstance(size, int) and size >= least
            _check(valid, f"controller.automata.{name} must be at least {least}, not {size}")


@dataclass(frozen=True)
class ControllerConfig:
    """The sequential part before the router.

    counters: sizes, from 2 on, of counters modulo their sizes (nn/counters.py).
    kind: "gated", a linear recurrence whose gates see the input (nn/controller.py), which may
        run in parallel over time; "lstm", whose gates see its state, too (nn/lstm.py), one step
        after another.
    automata: of finite states (nn/automata.py); None for none.
    """

    counters: tuple[int, ...] = ()
    kind: Literal["gated", "lstm"] = "gated"
    automata: AutomataConfig | None = None

    def __post_init__(self):
        known = self.kind in ("gated", "lstm")
        _check(known, f'controller.kind must be "gated" or "lstm", not {self.kind!r}')
        for size in self.counters:
            valid = isinstance(size, int) and size >= 2
            _check(valid, f"controller.counters must have sizes from 2 on, not {self.counters}")


@dataclass(frozen=True)
class MemoryConfig:
    """heads: of any kinds (nn/heads/). num_slots: S, of every head; initial_state may enlarge
    it. active_slots: A per access; at 1 the only weight of an address is 1, so that neither
    pointers nor queries get a gradient. head_width: P, of the values, keys and queries of a
    head; 0 for D/H. slot_bits: of each number in the slots of association heads, 32, 8 or 4
    (core/narrow.py); other heads change what is in their slots, and keep 32.
    """

    heads: tuple[Head, ...] = (Ring(1),)
    num_slots: int = 64
    active_slots: int = 3
    head_width: int = 0
    slot_bits: int = 32

    def __post_init__(self):
        check_bits(self.slot_bits)
        _check(len(self.heads) > 0, "memory.heads must not be empty; memory=None for none")
        for name, head in zip(head_names(self.heads), self.heads, strict=True):
            valid = isinstance(head, Head) and head.count >= 1
            _check(valid, f"memory.heads: {name} must be a Head with a count of at least 1")
        _check(
            self.num_slots >= 1, f"memory.num_slots must be at least 1, not {self.num_slots}"
        )
        _check(
            self.head_width >= 0,
            f"memory.head_width must be at least 0, not {self.head_width}",
        )
        _check(
            1 <= self.active_slots <= self.num_slots,
            f"memory.active_slots must be between 1 and memory.num_slots {self.num_slots}, "
            f"not {self.active_slots}",
        )

    @property
    def num_heads(self) -> int:
        return sum(head.count for head in self.heads)


@dataclass(frozen=True)
class ExpertsConfig:
    """expert: any module that maps [..., D] to [..., D] (nn/experts.py). count: E. top_k: K,
    the most that a token uses. capacity_factor: room per expert in training, times the even
    share.
    exploration: share of tokens that in training try an expert whose gate is closed.
    groups: G, of N = E / G experts each, of which a token scores those of its min(K, G) best
        groups alone (core/hierarchy.py); 0 for none: it scores all E. Random routing scores
        nothing and has none.
    capacity_pool: sequences of a batch that share the room of an expert in training, filled in
        time order; of a batch that it does not divide, their greatest common divisor. At 1 no
        sequence affects another. With many experts the room of one
        sequence is a few tokens, and common words fill it.
    """

    count: int = 4
    top_k: int = 1
    expert: nn.Module = field(default_factory=lambda: MlpExpert(128))
    capacity_factor: float = 1.25
    exploration: float = 0.01
    groups: int = 0
    capacity_pool: int = 1

    def __post_init__(self):
        _check(self.count >= 1, f"experts.count must be at least 1, not {self.count}")
        _check(
            1 <= self.top_k <= self.count,
            f"experts.top_k must be between 1 and experts.count {self.count}, not {self.top_k}",
        )
        _check(
            self.capacity_factor > 0,
            f"experts.capacity_factor must be above 0, not {self.capacity_factor}",
        )
        _check(
            0 <= self.exploration <= 1,
            f"experts.exploration must be in [0, 1], not {self.exploration}",
        )
        _check(
            self.groups == 0 or (self.groups > 0 and self.count % self.groups == 0),
            f"experts.groups must divide experts.count {self.count}, or be 0 for none, "
            f"not {self.groups}",
        )
        _check(
            self.capacity_pool >= 1,
            f"experts.capacity_pool must be at least 1, not {self.capacity_pool}",
        )


@dataclass(frozen=True)
class LayerConfig:
    """A MOCA layer. controller, memory, experts: None for a layer without that part.

    width: D, of the residual stream.
    time: "scan" runs the recurrences step by step (fast on CPU), "parallel" as prefix
        sums and chunked matrix products (for accelerators). Same values either way.
    remat: rematerialises the layer for its gradient (gradient checkpointing).
    dtype: "float32" or "bfloat16", of the residual stream and of operands of matrix products;
        parameters, states and decisions are float32 (core/precision.py).
    dropout: share in [0, 1) of the numbers that training sets to 0 in what each part adds to
        the residual stream (Srivastava et al., 2014); MocaNet drops embeddings and features,
        too.
    """

    width: int = 128
    controller: ControllerConfig | None = field(default_factory=ControllerConfig)
    memory: MemoryConfig | None = field(default_factory=MemoryConfig)
    experts: ExpertsConfig | None = field(default_factory=ExpertsConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    time: Literal["scan", "parallel"] = "scan"
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    dropout: float = 0.0

    def __post_init__(self):
        _check(0 <= self.dropout < 1, f"dropout must be in [0, 1), not {self.dropout}")
        _check(self.width >= 1, f"width must be at least 1, not {self.width}")
        _check(
            self.time in ("scan", "parallel"),
            f'time must be "scan" or "parallel", not {self.time!r}',
        )
        _check(
            self.dtype in ("float32", "bfloat16"),
            f'dtype must be "float32" or "bfloat16", not {self.dtype!r}',
        )
        _check(
            self.memory is None
            or self.memory.head_width > 0
            or self.width % self.num_heads == 0,
            f"width {self.width} is not divisible by {self.num_heads} memory heads",
        )

    @property
    def num_heads(self) -> int:
        """H, memory heads of all kinds."""
        return self.memory.num_heads if self.memory else 0

    @property
    def num_experts(self) -> int:
        """E."""
        return self.experts.count if self.experts else 0

    @property
    def groups(self) -> Groups | None:
        """Of the experts; None where a token scores all of them, or none."""
        if not self.experts or not self.experts.groups or self.budget.routing == "random":
            return None
        return Groups(self.experts.groups, min(self.experts.top_k, self.experts.groups))

    @property
    def dynamic(self) -> bool:
        """Whether gates decide what is computed."""
        return self.budget.routing == "dynamic"

    @property
    def parallel(self) -> bool:
        return self.time == "parallel"

    @property
    def activations(self) -> jnp.dtype | None:
        """The dtype of activations; None for that of the parameters."""
        return jnp.dtype(jnp.bfloat16) if self.dtype == "bfloat16" else None

    @property
    def sizes(self) -> Sizes:
        """Sizes that heads need; of a layer with a memory."""
        return Sizes(
            self.width,
            self.memory.head_width or self.width // self.num_heads,
            self.memory.num_slots,
            self.memory.active_slots,
            self.dynamic,
            self.parallel,
            self.activations,
            self.memory.slot_bits,
        )

    @cached_property
    def flops(self) -> Flops:
        """FLOPs per token of everything that can be gated: all experts, all writes and
        reads."""
        experts = writes = reads = 0.0
        if self.experts:
            experts = self.experts.count * expert_flops(self.experts.expert, self.width)
        if self.memory:
            values, active = self.num_heads * self.sizes.value_width, self.memory.active_slots
            writes, reads = (
                memory_flops(self.width, values, active, passes) for passes in (2, 0)
            )
        return Flops(experts, writes, reads)

    @property
    def unit_shares(self) -> Shares:
        """Of one expert, one head's write, one head's read."""
        counts = (self.num_experts, self.num_heads, self.num_heads)
        total = max(sum(self.flops), 1)
        shares = (f / max(n, 1) / total for f, n in zip(self.flops, counts, strict=True))
        return Shares(*shares)

    @property
    def max_multiplier(self) -> float:
        """λ at which every gate is closed; a little more than needed, since a product with a
        share is rounded and would leave open what has reached the bound."""
        cheapest = min((share for share in self.unit_shares if share), default=1.0)
        return 1.001 * gating.BOUND / cheapest

    @property
    def mean_accesses(self) -> float:
        """Share in [0, 1] of tokens that can write and read with all heads if the whole budget
        goes to the memory."""
        both = self.num_heads * (self.unit_shares.write + self.unit_shares.read)
        return min(1.0, self.budget.target / both)

    @property
    def mean_experts(self) -> float:
        """Experts that a token can use on average if the whole budget goes to them."""
        if self.budget.routing == "topk":
            return self.experts.top_k
        return min(self.experts.top_k, self.budget.target / self.unit_shares.expert)
