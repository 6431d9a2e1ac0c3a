"""One MOCA layer: controller, router, memory and experts around a residual stream.

    x = x + automata(norm(x));  x = x + controller(norm(x));  x = x + counters(norm(x))
    z = norm(x);  route = router(z);  x' = x + memory(z, route) + experts(z, route)

Axes: B batch, T time, D width, E experts, H memory heads.
"""

from dataclasses import field
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core import budget, hierarchy
from mocanet_jax.core.hierarchy import GroupedLogits
from mocanet_jax.core.lstm import LstmState
from mocanet_jax.nn.automata import Automata, AutomataState
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.controller import Controller, ControllerState
from mocanet_jax.nn.counters import Counters, CounterState
from mocanet_jax.nn.experts import Experts, ExpertsAux
from mocanet_jax.nn.lstm import Kinds, Lstm, normed
from mocanet_jax.nn.memory import Context, Memory, MemoryAux
from mocanet_jax.nn.projections import FusedProjections
from mocanet_jax.nn.router import Router


class LayerState(NamedTuple):
    """What a layer carries from one segment of a sequence to the next. memory: of every entry
    of the list of heads."""

    controller: ControllerState | LstmState | None
    counters: CounterState | None
    automata: AutomataState | None
    memory: tuple[Any, ...] | None


class LayerAux(NamedTuple):
    """What a layer did. expert_logits: float [B, T, E], or of both levels where experts have
    groups. usage: FLOPs of what is engaged, which
    evaluation spends; in training, too, what finds no room counts. expected_share:
    share of the FLOPs that gates are expected to spend, float [], differentiable, a mean over
    unmasked tokens; 0 where routing is fixed. penalty: quantisation penalty, float [], a mean
    over unmasked tokens."""

    expert_logits: jax.Array | GroupedLogits | None
    memory: MemoryAux | None
    experts: ExpertsAux | None
    usage: budget.Usage
    expected_share: jax.Array
    penalty: jax.Array


def build_router(config: LayerConfig) -> Router:
    heads = config.memory.heads if config.memory else ()
    write_starts = (start for h in heads for start in [h.write_gate_start] * h.count)
    starts = tuple(write_starts)
    return Router(config.num_experts, starts, config.dynamic, config.groups)


def build_controller(config: LayerConfig) -> Controller | Lstm:
    """Of a layer that has one."""
    if config.controller.kind == "lstm":
        return Lstm(config.width)
    form = "associative" if config.parallel else "scan"
    return Controller(config.width, form=form, dtype=config.activations)


def build_automata(config: LayerConfig) -> Automata:
    """Of a layer that has them."""
    sizes = config.controller.automata
    form = "associative" if config.parallel else "scan"
    return Automata(sizes.count, sizes.states, sizes.maps, form, config.activations)


class MocaLayer(nn.Module):
    """Maps x [B, T, D] and a LayerState to x' [B, T, D], the next state and LayerAux."""

    config: LayerConfig = field(default_factory=LayerConfig)

    def setup(self):
        config = self.config
        norm = lambda: nn.RMSNorm(dtype=config.activations)
        if config.controller:
            self.controller_norm = norm()
            self.controller = build_controller(config)
            if config.controller.counters:
                self.counters_norm = norm()
                self.counters = Counters(config.controller.counters, config.activations)
            if config.controller.automata:
                self.automata_norm = norm()
                self.automata = build_automata(config)
        self.norm = norm()
        heads = config.memory.heads if config.memory else ()
        self.drop = nn.Dropout(config.dropout)
        self.router = build_router(config)
        wanted = {"router": self.router.projections()}
        if config.memory:
            self.memory = Memory(heads, config.sizes, config.dynamic, config.mean_accesses)
            wanted |= self.memory.projections()
        self.projections = FusedProjections(
            tuple((owner, tuple(p.items())) for owner, p in wanted.items())
        )
        if config.experts:
            self.experts = Experts(
                config.experts.expert,
                config.experts.count,
                config.experts.top_k,
                config.budget.routing,
                config.mean_experts,
                config.experts.capacity_factor,
                config.experts.exploration,
                config.experts.capacity_pool,
            )

    def initial_state(self, batch: int, num_slots: int | None = None) -> LayerState:
        """num_slots: S, at least the trained number; None for the trained number."""
        config = self.config
        controller = counters = automata = memory = None
        if config.controller:
            controller = self.controller.initial_state(batch)
            if config.controller.counters:
                counters = self.counters.initial_state(batch)
            if config.controller.automata:
                automata = self.automata.initial_state(batch)
        if config.memory:
            trained = config.memory.num_slots
            num_slots = trained if num_slots is None else num_slots
            if num_slots < trained:
                raise ValueError(
                    f"memory can be enlarged beyond {trained} slots, not reduced to {num_slots}"
                )
            memory = self.memory.initial_state(batch, num_slots)
        return LayerState(controller, counters, automata, memory)

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None = None,
        state: LayerState | None = None,
        train: bool = False,
        hardness: jax.Array | float = 1.0,
        multiplier: jax.Array | float = 0.0,
        kinds: Kinds | None = None,
    ) -> tuple[jax.Array, LayerState, LayerAux]:
        """x: float [B, T, D]. mask: bool [B, T], False for padding, which leaves the state
        untouched; None for no padding. state: None for a fresh sequence.
        train: experts have bounded room; needs the "router" rng where they explore, and the
        "dropout" rng where there is dropout.
        hardness: of decisions that are made hard, [] or [B], in [0, 1].
        multiplier: λ ≥ 0 of the budget, in logits for the full compute of the layer.
        kinds: of the tokens that x embeds, for an LSTM, which sees them without the dropout of
            x; None for an x that depends on more.
        """
        config = self.config
        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        state = self.initial_state(len(x)) if state is None else state
        controller, counters, automata, memory = state
        if config.controller:
            if config.controller.automata:
                c, automata = self.automata(self.automata_norm(x), mask, automata, hardness)
                x, kinds = x + c, None
            z = normed(self.controller_norm, self.controller, x, kinds)
            c, controller = self.controller(z, mask, controller)
            x = x + self.drop(c.astype(x.dtype), deterministic=not train)
            if config.controller.counters:
                c, counters = self.counters(self.counters_norm(x), mask, counters, hardness)
                x = x + c
        z = self.norm(x)
        thresholds = budget.thresholds(multiplier, config.unit_shares)
        projected = self.projections(z)
        decisions = self.router(projected["router"], mask, thresholds, z)
        memory_aux = experts = None
        if config.memory:
            hardness = jnp.broadcast_to(hardness, mask.shape[:1])[:, None, None]
            context = Context(hardness, thresholds.read, train)
            m, memory, memory_aux = self.memory(z, projected, decisions, mask, memory, context)
            x = x + self.drop(m, deterministic=not train)
        if config.experts:
            e, experts = self.experts(z, decisions.expert_logits, mask, train)
            x = x + self.drop(e, deterministic=not train)
        aux = self._aux(decisions.expert_logits, memory_aux, experts, mask)
        return x, LayerState(controller, counters, automata, memory), aux

    def _aux(self, expert_logits, memory, experts, mask):
        zero = jnp.zeros(())
        return LayerAux(
            expert_logits,
            memory,
            experts,
            self._usage(memory, experts, mask),
            self._expected_share(expert_logits, memory, experts, mask)
            if self.config.dynamic
            else zero,
            _masked_mean(memory.penalty, mask) if memory else zero,
        )

    def _usage(self, memory, experts, mask):
        config = self.config
        wanted = jnp.zeros((*mask.shape, config.num_experts), bool)
        top_k = config.experts.top_k if experts else 0
        if experts is not None:
            chosen = nn.one_hot(experts.indices, config.num_experts, dtype=bool)
            wanted = jnp.any(chosen & experts.wanted[..., None], axis=-2)
        writes = reads = jnp.zeros(mask.shape)
        if memory is not None:
            writes, reads = (jnp.mean(g, axis=-1) for g in (memory.writes, memory.reads))
        return budget.usage(wanted, writes, reads, mask, config.flops, top_k)

    def _expected_share(self, expert_logits, memory, experts, mask):
        shares, margins = self.config.unit_shares, []
        if memory is not None:
            margins += [(memory.write_margins, shares.write)]
            margins += [(memory.read_margins, shares.read)]
        if experts is not None:
            if isinstance(expert_logits, GroupedLogits):
                chosen = hierarchy.margins_of(expert_logits, experts.indices)
            else:
                chosen = jnp.take_along_axis(expert_logits, experts.indices, axis=-1)
            margins += [(chosen, shares.expert)]
        spent = (share * jnp.sum(nn.sigmoid(m), axis=-1) for m, share in margins)
        return _masked_mean(sum(spent, start=jnp.zeros(mask.shape)), mask)


def _masked_mean(numbers, mask):
    return jnp.sum(numbers * mask) / jnp.maximum(jnp.sum(mask), 1)
