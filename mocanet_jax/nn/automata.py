"""Finite automata: state that is tracked exactly, of any structure that their sizes hold.

Axes: B batch, T time, D width, A automata, N states, K maps.

    s_t = M_t s_{t−1},   M_t = Σ_k choice_tk P_k,   from state 0

Each automaton has a dictionary of K maps P_k of states to states, and every token chooses one.
While it is searched for, a map is a doubly stochastic matrix, the choice a softmax and s_t a
distribution; made hard, columns, choice and state are one-hot. (The dictionary and the choice
are those of Terzić et al., 2025, PD-SSM, arXiv 2509.22284, whose one-hot columns carry complex
numbers; here nothing is to decay.)

A map that is learned is a permutation or nearly one, so that automata track groups. Maps with
free columns merge states on the way, and what is merged is lost to all later tokens. What
permutations cannot do, to forget, a gate of the controller does (nn/controller.py); that
permutations and resets in layers make every finite automaton is the theorem of Krohn and Rhodes
(1965).

Several automata run beside each other, blind to each other; the output is linear in their
states.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.automata import automaton_states, balanced, spread
from mocanet_jax.core.precision import full
from mocanet_jax.core.recurrence import Form
from mocanet_jax.core.straight_through import hard_choice
from mocanet_jax.nn.parameters import declared

PEAK, NOISE = 5.0, 1.0
"""Of the logits of maps at the start: of the state that a map leads to, above all others, and
standard deviation. About nine tenths of a map's choice among eight states."""

GAIN = 10.0
"""Logits of maps over the parameter that holds them: Adam moves every parameter by about the
learning rate, and what a map does has to change within tens of steps."""

CHOICE_GAIN = 0.1
"""The same of logits of choices. The components of z are of size 1, and those that tell tokens
apart add up: without it a choice would be one-hot after ten steps, of maps that are not learned
yet."""

CHOSEN = 5.0
"""Deviation of logits of choices at the start: most tokens take one map, of which they can then
be sure, where the mean of all maps would forget every state."""

_choice_init = nn.initializers.variance_scaling(
    (CHOSEN / CHOICE_GAIN) ** 2, "fan_in", "truncated_normal"
)

SURE_MAP, SURE_CHOICE = 2.0, 3.0
"""Least deviation of the logits of a column of a map, about that of the start, and of a choice.
As long as it is of no use, an automaton disturbs; with nothing against it, it would therefore
learn to forget its state, with maps that lead everywhere alike, and be of no use for ever."""


def _random_permutations(key, shape, dtype=jnp.float32):
    """Logits of maps, over GAIN, [A, K, N, N] from state n to state m: permutations lose
    nothing, so that a late token's gradient reaches the first."""
    order_key, noise_key = jax.random.split(key)
    order = jnp.argsort(jax.random.uniform(order_key, shape[:-1]), axis=-1)
    peaks = PEAK * jax.nn.one_hot(order, shape[-1], dtype=dtype)
    return (peaks + NOISE * jax.random.normal(noise_key, shape, dtype)) / GAIN


class AutomataState(NamedTuple):
    """states: float [B, A, N], of sum 1 over N; one-hot where decisions are hard."""

    states: jax.Array


class Automata(nn.Module):
    """A automata of N states, with maps chosen by logits linear in z_t.

    count, states, maps: A, N, K.
    form: of the recurrence over time, with the same values.
    dtype: of its matrix products (core/precision.py); None for that of the parameters.
    """

    count: int
    states: int
    maps: int
    form: Form = "scan"
    dtype: jnp.dtype | None = None

    @nn.nowrap
    def initial_state(self, batch: int) -> AutomataState:
        start = jnp.zeros((batch, self.count, self.states))
        return AutomataState(start.at[..., 0].set(1.0))

    @nn.nowrap
    def flops(self, width: int) -> float:
        """Forward FLOPs per token: logits of choices, the map (of soft and of hard columns),
        the next state and the output."""
        products = width * (self.maps + self.states)
        return 2.0 * self.count * (products + (2 * self.maps + 1) * self.states**2)

    @nn.compact
    def __call__(
        self, z: jax.Array, mask: jax.Array, state: AutomataState, hardness: jax.Array | float
    ) -> tuple[jax.Array, AutomataState]:
        """z: [B, T, D]; mask: bool [B, T]. hardness: of choices and maps, [] or [B], in [0, 1].
        Returns [B, T, D], linear in the states, and the next state."""
        A, N, K = self.count, self.states, self.maps
        dense = nn.Dense(A * K, dtype=self.dtype, kernel_init=_choice_init, name="choice")
        logits = CHOICE_GAIN * full(dense(z)).reshape(*mask.shape, A, K)
        logits = spread(logits, SURE_CHOICE)
        table = declared(self, "maps", _random_permutations, (A, K, N, N), decay=False)
        table = balanced(spread(GAIN * table, SURE_MAP))
        soft, hard = (hard_choice(table, h) for h in (0.0, 1.0))
        hardness = jnp.broadcast_to(hardness, mask.shape[:1])[:, None, None, None]
        choice = hard_choice(logits, hardness)
        choice = jnp.concatenate([(1 - hardness) * choice, hardness * choice], axis=-1)
        both = jnp.concatenate([soft, hard], axis=1)
        maps = jnp.einsum("btak,aknm->btamn", choice, both)
        maps = jnp.where(mask[..., None, None, None], maps, jnp.eye(N)[None, None, None])
        states = automaton_states(maps, state.states, self.form)
        output = nn.Dense(z.shape[-1], use_bias=False, dtype=self.dtype, name="output")(
            states.reshape(*mask.shape, A * N)
        )
        return output, AutomataState(states[:, -1])
