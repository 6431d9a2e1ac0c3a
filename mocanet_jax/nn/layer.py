"""One MOCA layer: controller, router, memory and experts around a residual stream.

    z = norm(x);  c = controller(z);  z = norm(x + c);  route = router(z)
    x' = x + c + memory(z, route) + experts(z, route)

Axes: B batch, T time, D width, S slots.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget
from mocanet_jax.core.memory import MemoryState
from mocanet_jax.nn.controller import Controller, ControllerState
from mocanet_jax.nn.experts import Experts, ExpertsAux
from mocanet_jax.nn.memory_bank import MemoryBank
from mocanet_jax.nn.router import Route, Router, RouterState


@dataclass(frozen=True)
class LayerSpec:
    """Sizes of a layer. A part is absent where its count is 0.

    top_k_slots: A; at 1 the only weight of an address is 1, so that neither pointers nor
        queries get a gradient.
    time: "scan" runs the recurrences step by step (fast on CPU), "parallel" as prefix
        sums and chunked matrix products (for accelerators). Same values either way.
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
    time: Literal["scan", "parallel"] = "scan"

    def __post_init__(self):
        for name in ("embedding_dim", "expert_hidden_dim", "num_memory_slots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("expert_capacity_factor", "router_temperature", "pointer_sharpness"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("num_experts", "num_location_heads", "num_content_heads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if self.time not in ("scan", "parallel"):
            raise ValueError(f'time must be "scan" or "parallel", not {self.time!r}')
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
        return self.num_location_heads + self.num_content_heads

    @property
    def prices(self) -> budget.Prices:
        """FLOPs per token of everything that can be engaged."""
        memory = bool(self.num_heads)
        expert = budget.expert_price(self.embedding_dim, self.expert_hidden_dim)
        access = lambda n: memory * budget.memory_price(self.embedding_dim, self.top_k_slots, n)
        return budget.Prices(self.num_experts * expert, access(2), access(1))


class LayerState(NamedTuple):
    """What a layer carries from one segment of a sequence to the next."""

    controller: ControllerState | None
    router: RouterState
    memory: MemoryState | None


class LayerAux(NamedTuple):
    """What a layer did: its route, the experts' choices and losses, the FLOPs spent."""

    route: Route
    experts: ExpertsAux | None
    usage: budget.Usage


class MocaLayer(nn.Module):
    """Maps x [B, T, D] and a LayerState to x' [B, T, D], the next state and LayerAux."""

    spec: LayerSpec

    def setup(self):
        spec = self.spec
        parallel = spec.time == "parallel"
        if spec.use_controller:
            self.controller_norm = nn.RMSNorm()
            self.controller = Controller(form="associative" if parallel else "scan")
        self.norm = nn.RMSNorm()
        self.router = Router(
            spec.num_experts,
            spec.num_location_heads,
            spec.num_content_heads,
            spec.num_memory_slots,
            spec.top_k_slots,
            spec.router_temperature,
            spec.pointer_sharpness,
        )
        if spec.num_heads:
            self.memory = MemoryBank(
                spec.embedding_dim,
                spec.num_location_heads,
                spec.num_content_heads,
                spec.num_memory_slots,
                "chunked" if parallel else "recurrent",
            )
        if spec.num_experts:
            self.experts = Experts(
                spec.num_experts,
                spec.expert_hidden_dim,
                spec.top_k_experts,
                spec.expert_capacity_factor,
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
    ) -> tuple[jax.Array, LayerState, LayerAux]:
        spec = self.spec
        controller, memory, experts = state.controller, state.memory, None
        if spec.use_controller:
            c, controller = self.controller(self.controller_norm(x), mask, controller)
            x = x + c
        z = self.norm(x)
        num_slots = memory.slots.shape[2] if spec.num_heads else 0
        route, router = self.router(z, mask, state.router, num_slots, rounding)
        if spec.num_heads:
            m, memory = self.memory(z, route, memory)
            x = x + m
        if spec.num_experts:
            e, experts = self.experts(z, route.expert_logits, mask, train)
            x = x + e
        aux = LayerAux(route, experts, self._usage(mask))
        return x, LayerState(controller, router, memory), aux

    def _usage(self, mask):
        """Fixed top-k: K of E experts, one write and one read at every token."""
        spec = self.spec
        share = spec.top_k_experts / spec.num_experts if spec.num_experts else 0.0
        on = jnp.ones(mask.shape)
        engaged = {"experts": share * on, "writes": on, "reads": on}
        return budget.usage(engaged, mask, spec.prices)
