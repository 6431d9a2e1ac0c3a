"""One MOCA layer: controller, router, memory and experts around a residual stream.

    x = x + controller(norm(x));  x = x + counters(norm(x))
    z = norm(x);  route = router(z);  x' = x + memory(z, route) + experts(z, route)

Axes: B batch, T time, D width, S slots.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget, gating
from mocanet_jax.nn.controller import Controller, ControllerState
from mocanet_jax.nn.counters import Counters, CounterState
from mocanet_jax.nn.experts import Experts, ExpertsAux
from mocanet_jax.nn.memory_bank import BankState, MemoryBank
from mocanet_jax.nn.route import Route, RouterState
from mocanet_jax.nn.router import Router


@dataclass(frozen=True)
class LayerSpec:
    """Sizes of a layer. A part is absent where its count is 0.

    top_k_slots: A; at 1 the only weight of an address is 1, so that neither pointers nor
        queries get a gradient.
    tape: what location heads move on; "loop" takes reads from the last slot written back to the
        first, and tells how often, up to max_laps; on a "stack" a head reads where it writes.
    counters: sizes of counters modulo n (nn/counters.py).
    routing: "dynamic" engages a part only where its gate is open (core/gating.py), with K and A
        as ceilings; "topk" engages K experts, a write and a read at every token.
    target_budget: share of the full compute, in [0, 1], that the experts' room is sized for.
    exploration: share of tokens that in training try an expert though its gate is shut.
    time: "scan" runs the recurrences step by step (fast on CPU), "parallel" as prefix
        sums and chunked matrix products (for accelerators). Same values either way.
    remat: keeps only a layer's inputs for its gradient, and computes the rest anew.
    activations: type of the residual stream and of what matrix products take; parameters,
        states and decisions are float32 (core/precision.py).
    """

    embedding_dim: int
    num_experts: int
    expert_hidden_dim: int
    top_k_experts: int
    expert_capacity_factor: float
    num_location_heads: int
    num_content_heads: int
    num_memory_slots: int
    top_k_slots: int
    router_temperature: float
    pointer_sharpness: float
    use_controller: bool = True
    num_association_heads: int = 0
    num_order_heads: int = 0
    tape: Literal["ring", "loop", "stack"] = "ring"
    max_laps: int = 1
    counters: tuple[int, ...] = ()
    routing: Literal["dynamic", "topk"] = "dynamic"
    target_budget: float = 1.0
    exploration: float = 0.01
    time: Literal["scan", "parallel"] = "scan"
    remat: bool = False
    activations: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        for name in ("embedding_dim", "expert_hidden_dim", "num_memory_slots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("expert_capacity_factor", "router_temperature", "pointer_sharpness"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        kinds = ("location", "content", "association", "order")
        for name in ("num_experts", *(f"num_{kind}_heads" for kind in kinds)):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if self.tape not in ("ring", "loop", "stack"):
            raise ValueError(f'tape must be "ring", "loop" or "stack", not {self.tape!r}')
        if self.max_laps < 1:
            raise ValueError(f"max_laps must be at least 1, not {self.max_laps}")
        if any(not isinstance(size, int) or size < 2 for size in self.counters):
            raise ValueError(f"counters must have sizes from 2 on, not {self.counters}")
        if self.routing not in ("dynamic", "topk"):
            raise ValueError(f'routing must be "dynamic" or "topk", not {self.routing!r}')
        for name in ("target_budget", "exploration"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if self.time not in ("scan", "parallel"):
            raise ValueError(f'time must be "scan" or "parallel", not {self.time!r}')
        if self.activations not in ("float32", "bfloat16"):
            raise ValueError(
                f'activations must be "float32" or "bfloat16", not {self.activations!r}'
            )
        heads = self.num_heads
        if heads and self.embedding_dim % heads:
            raise ValueError(
                f"embedding_dim {self.embedding_dim} is not divisible by {heads} memory heads"
            )
        if heads and not 1 <= self.top_k_slots <= self.num_memory_slots:
            raise ValueError(
                f"top_k_slots must be between 1 and num_memory_slots "
                f"{self.num_memory_slots}, not {self.top_k_slots}"
            )
        if self.num_experts and not 1 <= self.top_k_experts <= self.num_experts:
            raise ValueError(
                f"top_k_experts must be between 1 and num_experts {self.num_experts}, "
                f"not {self.top_k_experts}"
            )

    @property
    def num_heads(self) -> int:
        return (
            self.num_location_heads
            + self.num_content_heads
            + self.num_association_heads
            + self.num_order_heads
        )

    @property
    def dtype(self) -> jnp.dtype | None:
        """Of activations; None for that of the parameters."""
        return jnp.dtype(jnp.bfloat16) if self.activations == "bfloat16" else None

    @property
    def prices(self) -> budget.Prices:
        """FLOPs per token of everything that can be engaged."""
        memory = bool(self.num_heads)
        expert = budget.expert_price(self.embedding_dim, self.expert_hidden_dim)
        access = lambda n: memory * budget.memory_price(self.embedding_dim, self.top_k_slots, n)
        return budget.Prices(self.num_experts * expert, access(2), access(0))

    @property
    def unit_shares(self) -> budget.Prices:
        """Of the price of everything on: one expert, one head's write, one head's read."""
        prices = self.prices
        counts = (self.num_experts, self.num_heads, self.num_heads)
        return budget.Prices(
            *(p / max(n, 1) / max(sum(prices), 1) for p, n in zip(prices, counts, strict=True))
        )

    @property
    def highest_price(self) -> float:
        """λ at which every gate is shut; a little more than needed, or rounding of the product
        with a share would leave open what has reached the bound."""
        cheapest = min((share for share in self.unit_shares if share), default=1.0)
        return 1.001 * gating.BOUND / cheapest

    @property
    def mean_experts(self) -> float:
        """Experts that a token can use on average if the whole budget goes to them."""
        if self.routing == "topk" or not self.num_experts:
            return self.top_k_experts
        return min(self.top_k_experts, self.target_budget / self.unit_shares.experts)


class LayerState(NamedTuple):
    """What a layer carries from one segment of a sequence to the next."""

    controller: ControllerState | None
    counters: CounterState | None
    router: RouterState
    memory: BankState | None


class LayerAux(NamedTuple):
    """What a layer did: its route, the experts' choices and losses, the FLOPs spent, and the
    share that gates are expected to spend: float [], differentiable, a mean over unmasked
    tokens; 0 where routing is fixed. indecision: float [], the route's, a mean over unmasked
    tokens.
    """

    route: Route
    experts: ExpertsAux | None
    usage: budget.Usage
    expected_share: jax.Array
    indecision: jax.Array


class MocaLayer(nn.Module):
    """Maps x [B, T, D] and a LayerState to x' [B, T, D], the next state and LayerAux."""

    spec: LayerSpec

    def setup(self):
        spec = self.spec
        parallel = spec.time == "parallel"
        if spec.use_controller:
            self.controller_norm = nn.RMSNorm(dtype=spec.dtype)
            self.controller = Controller(
                form="associative" if parallel else "scan", dtype=spec.dtype
            )
        if spec.counters:
            self.counters_norm = nn.RMSNorm(dtype=spec.dtype)
            self.counters = Counters(spec.counters, spec.dtype)
        self.norm = nn.RMSNorm(dtype=spec.dtype)
        self.router = Router(
            spec.num_experts,
            spec.num_location_heads,
            spec.num_content_heads,
            spec.num_memory_slots,
            spec.top_k_slots,
            spec.router_temperature,
            spec.pointer_sharpness,
            spec.routing == "dynamic",
            spec.num_association_heads,
            spec.num_order_heads,
            spec.tape,
            spec.max_laps,
        )
        if spec.num_heads:
            self.memory = MemoryBank(
                spec.embedding_dim,
                spec.num_location_heads,
                spec.num_content_heads,
                spec.num_memory_slots,
                spec.routing == "dynamic",
                "chunked" if parallel else "recurrent",
                spec.num_association_heads,
                spec.num_order_heads,
                spec.dtype,
            )
        if spec.num_experts:
            self.experts = Experts(
                spec.num_experts,
                spec.expert_hidden_dim,
                spec.top_k_experts,
                spec.expert_capacity_factor,
                spec.routing == "dynamic",
                spec.mean_experts,
                spec.exploration,
            )

    def initial_state(self, batch: int, num_slots: int | None = None) -> LayerState:
        """num_slots: S, at least the trained number; None for the trained number."""
        spec = self.spec
        num_slots = spec.num_memory_slots if num_slots is None else num_slots
        if num_slots < spec.num_memory_slots:
            raise ValueError(
                f"memory can be enlarged beyond {spec.num_memory_slots} slots, "
                f"not reduced to {num_slots}"
            )
        return LayerState(
            self.controller.initial_state(batch, spec.embedding_dim)
            if spec.use_controller
            else None,
            self.counters.initial_state(batch) if spec.counters else None,
            self.router.initial_state(batch, spec.embedding_dim),
            self.memory.initial_state(batch, num_slots) if spec.num_heads else None,
        )

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        state: LayerState,
        train: bool = False,
        rounding: jax.Array | float = 1.0,
        price: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, LayerState, LayerAux]:
        """price: λ, in logits for the full compute of the layer."""
        spec = self.spec
        costs = budget.Prices(*(price * share for share in spec.unit_shares))
        controller, memory, experts = state.controller, state.memory, None
        if spec.use_controller:
            c, controller = self.controller(self.controller_norm(x), mask, controller)
            x = x + c
        counters = state.counters
        if spec.counters:
            c, counters = self.counters(self.counters_norm(x), mask, counters, rounding)
            x = x + c
        z = self.norm(x)
        num_slots = memory.num_slots if spec.num_heads else 0
        route, router = self.router(z, mask, state.router, num_slots, rounding, costs)
        if spec.num_heads:
            m, memory, route = self.memory(z, route, memory, costs.reads)
            x = x + m
        if spec.num_experts:
            e, experts = self.experts(z, route.expert_logits, mask, train)
            x = x + e
        aux = LayerAux(
            route,
            experts,
            self._usage(route, experts, mask),
            self._expected_share(route, experts, mask),
            self._indecision(route, mask),
        )
        return x, LayerState(controller, counters, router, memory), aux

    def _usage(self, route, experts, mask):
        spec = self.spec
        computed = jnp.zeros((*mask.shape, spec.num_experts), bool)
        if experts is not None:
            chosen = nn.one_hot(experts.indices, spec.num_experts, dtype=bool)
            computed = jnp.any(chosen & experts.computed[..., None], axis=-2)
        on = lambda gates: jnp.zeros(mask.shape) if gates is None else jnp.mean(gates, axis=-1)
        return budget.usage(
            computed,
            on(route.writes),
            on(route.reads),
            mask,
            spec.prices,
            spec.top_k_experts,
        )

    def _expected_share(self, route, experts, mask):
        if self.spec.routing == "topk":
            return jnp.zeros(())
        share = self.spec.unit_shares
        margins = [(route.write_margins, share.writes), (route.read_margins, share.reads)]
        if experts is not None:
            chosen = jnp.take_along_axis(route.expert_logits, experts.indices, axis=-1)
            margins.append((chosen, share.experts))
        spent = sum(
            part * jnp.sum(nn.sigmoid(m), axis=-1) for m, part in margins if m is not None
        )
        return _masked_mean(spent, mask)

    def _indecision(self, route, mask):
        return _masked_mean(route.indecision, mask) if self.spec.num_heads else jnp.zeros(())


def _masked_mean(numbers, mask):
    return jnp.sum(numbers * mask) / jnp.maximum(jnp.sum(mask), 1)
