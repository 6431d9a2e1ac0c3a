"""The memory of a layer: it runs the heads, gates their reads, and projects out.

Axes: B batch, T time, D width, H memory heads of all kinds, P = D/H value width of a head.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mocanet_jax.core.straight_through import quantisation_penalty
from mocanet_jax.nn.heads.base import Head, Sizes, Trace, WriteGate
from mocanet_jax.nn.parameters import declared
from mocanet_jax.nn.projections import Linear, Projection, Projections
from mocanet_jax.nn.reads import Reader, Reads, room_for
from mocanet_jax.nn.reads import projected as projected_reads
from mocanet_jax.nn.router import Decisions

FILL_START = 2.0
"""Initial weight, in logits, of how much was found: it cancels the bias that reads start open
with where nothing was written, and doubles it where something was."""


class Context(NamedTuple):
    """hardness: [B, 1, 1] in [0, 1]. threshold: of one head's read, in logits. train: whether
    closed gates are told what they would gain, for which every token writes and reads."""

    hardness: jax.Array
    threshold: jax.Array | float
    train: bool = False


class MemoryAux(NamedTuple):
    """writes, reads: float [B, T, H], 1 where a head writes and reads, else 0.
    write_margins, read_margins: float [B, T, H], logits above the thresholds; None where
    routing is fixed. A read that is closed whatever it finds may have that of finding nothing.
    traces: of each entry of the list of heads. penalty: float [B, T] ≥ 0,
    quantisation penalty of the heads, and of write gates where they decide."""

    writes: jax.Array
    reads: jax.Array
    write_margins: jax.Array | None
    read_margins: jax.Array | None
    traces: tuple[Trace, ...]
    penalty: jax.Array


def head_names(heads: tuple[Head, ...]) -> list[str]:
    """A name for each entry: ring_head, content_head, …, numbered where a kind comes again."""
    names = []
    for head in heads:
        kind = type(head).__name__
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).strip("_") + "_head"
        count = sum(other.startswith(name) for other in names)
        names.append(f"{name}_{count + 1}" if count else name)
    return names


class Memory(nn.Module):
    """Heads side by side, each with a memory of its own.

    heads: of any kinds (nn/heads/). dynamic: reads have gates. A read costs its projection;
        what it would return is looked at before, so that gates need not guess what was written.
    read_share: share in [0, 1] of tokens that the budget lets write and read, which sizes the
        room for those that read in evaluation (nn/reads.py).
    """

    heads: tuple[Head, ...]
    sizes: Sizes
    dynamic: bool
    read_share: float = 1.0

    def setup(self):
        self._names = head_names(self.heads)
        for name, head in zip(self._names, self.heads, strict=True):
            setattr(self, name, head.clone(parent=None, name=None, sizes=self.sizes))
        if self.dynamic:
            start, count = nn.initializers.constant(FILL_START), self._num_heads
            self.fill = declared(self, "fill", start, (count,), decay=False)
        self.output = Linear(Projection(self.sizes.width))

    @property
    def _num_heads(self):
        return sum(head.count for head in self.heads)

    def _modules(self) -> list[Head]:
        return [getattr(self, name) for name in self._names]

    @nn.nowrap
    def projections(self) -> dict[str, Projections]:
        """What each head wants of the layer's input, by the head's name."""
        sized = [head.clone(parent=None, sizes=self.sizes) for head in self.heads]
        names = head_names(self.heads)
        return {n: head.projections() for n, head in zip(names, sized, strict=True)}

    def initial_state(self, batch: int, num_slots: int) -> tuple[Any, ...]:
        """Of every head."""
        return tuple(head.initial_state(batch, num_slots) for head in self._modules())

    def __call__(
        self,
        z: jax.Array,
        projected: dict[str, dict[str, jax.Array]],
        decisions: Decisions,
        mask: jax.Array,
        state: tuple[Any, ...],
        context: Context,
    ) -> tuple[jax.Array, tuple[Any, ...], MemoryAux]:
        """z: [B, T, D]. projected: by head, of `projections`.

        Returns what was read, projected to [B, T, D], the next state, and MemoryAux.
        """
        reader, gate = self._reader(context), decisions.writes
        # One token alone is a step, which has nothing to gather.
        if self.dynamic and not context.train and mask.shape[1] != 1:
            gate = gate._replace(may_read=reader.may_read(decisions.read_logits, mask))
        outputs = self._run(z, projected, gate, mask, state, context.hardness)
        found = jnp.concatenate([output.read for output in outputs], axis=2)
        reads, margins, y = self._read_out(found, reader, decisions, mask, gate)
        for output in outputs:
            y = y if output.residual is None else y + output.residual
        writes = decisions.writes
        penalty = sum(output.penalty for output in outputs) + jnp.zeros(mask.shape)
        if writes.margins is not None:
            gates = nn.sigmoid(writes.margins)
            penalty += jnp.mean(quantisation_penalty(gates), axis=-1)
        traces = tuple(output.trace for output in outputs)
        aux = MemoryAux(writes.open, reads, writes.margins, margins, traces, penalty)
        return y, tuple(output.state for output in outputs), aux

    def _run(self, z, projected, writes, mask, states, hardness):
        outputs, first = [], 0
        for name, head, state in zip(self._names, self._modules(), states, strict=True):
            own = lambda x, first=first, head=head: x[..., first : first + head.count]
            gate = WriteGate(*(None if x is None else own(x) for x in writes))
            outputs.append(head(z, projected[name], gate, mask, state, hardness))
            first += head.count
        return outputs

    def _reader(self, context):
        kernel = self.output(self._num_heads * self.sizes.value_width)[0]
        kernel = kernel.astype(self.sizes.dtype or kernel.dtype)
        return Reader(self.fill if self.dynamic else None, kernel, context.threshold)

    def _read_out(self, found, reader, decisions, mask, gate):
        """Gates of reads [B, T, H], their margins, and what is read, projected: [B, T, D]."""
        if not self.dynamic:
            reads = jnp.broadcast_to(mask[..., None], found.shape[:3]).astype(found.dtype)
            return Reads(reads, None, projected_reads(found * reads[..., None], reader.kernel))
        logits, length = decisions.read_logits, mask.shape[1]
        if gate.may_read is None or not isinstance(length, int):
            return reader.everywhere(found, logits, mask)
        room = room_for(length, self.read_share)
        return reader.of_few(found, logits, gate.may_read, room)
