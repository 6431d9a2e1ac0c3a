"""Kinds of memory heads, one file each."""

from mocanet_jax.nn.heads.association import Association
from mocanet_jax.nn.heads.base import Head, HeadOutput, Sizes, Trace, WriteGate
from mocanet_jax.nn.heads.content import Content
from mocanet_jax.nn.heads.loop import Loop
from mocanet_jax.nn.heads.priority_queue import PriorityQueue
from mocanet_jax.nn.heads.ring import Ring
from mocanet_jax.nn.heads.stack import Stack

KINDS = {
    "ring": Ring,
    "loop": Loop,
    "stack": Stack,
    "content": Content,
    "association": Association,
    "priority_queue": PriorityQueue,
}
"""By their names in config.model.memory.heads."""

__all__ = [
    "KINDS",
    "Association",
    "Content",
    "Head",
    "HeadOutput",
    "Loop",
    "PriorityQueue",
    "Ring",
    "Sizes",
    "Stack",
    "Trace",
    "WriteGate",
]
