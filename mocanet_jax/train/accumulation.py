"""The gradient of a batch in parts, one after another, so that memory holds one part at a time.

Axes: B batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Share(NamedTuple):
    """What a part has of its batch: of all that the task's loss is a mean over, and of all
    unmasked tokens. float [] in [0, 1].
    """

    scored: jax.Array | float
    tokens: jax.Array | float


WHOLE = Share(1.0, 1.0)


def in_parts(gradient: Callable, batch, state, keys: tuple, parts: int):
    """The sum over parts of `gradient(part, state, keys, share) → (gradients, metrics,
    state')`, metrics as means of the batch, and the next state of all its sequences.

    batch: of the task, arrays [B, …], of which part n has the sequences n, n + parts, …: on
    several devices each keeps its own. state: of the sequences, arrays [B, …], or None. keys: a
    named tuple; a part has keys of its own.

    Losses are means, and `gradient` weighs them by the part's share, so that the sum is the
    gradient of the whole batch wherever sequences have nothing to do with each other. Three
    things know of other sequences, and know those of their part alone: the balance of experts,
    a product of two means; how far usage is above the target, by which the budget presses; and
    load_of_expert_N among the metrics. Noise, dropout and trials of experts are drawn for each
    part, as many and as likely as for the whole.
    """
    if parts == 1:
        return gradient(batch, state, keys, WHOLE)
    apart = lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
    together = lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def of_part(n, part, state):
        share = Share(part.scored_count / batch.scored_count, _tokens(part) / _tokens(batch))
        own = type(keys)(*(jax.random.fold_in(key, n) for key in keys))
        gradients, metrics, after = gradient(part, state, own, share)
        weighed = {k: _weight(k, share, parts) * x for k, x in metrics.items()}
        return (gradients, weighed), after

    def one_more(total, part):
        sums, after = of_part(*part)
        return jax.tree.map(jnp.add, total, sums), after

    every = (jnp.arange(parts), *jax.tree.map(apart, (batch, state)))
    shapes, _ = jax.eval_shape(of_part, *jax.tree.map(lambda x: x[0], every))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    sums, after = jax.lax.scan(one_more, nothing, every)
    return *sums, jax.tree.map(together, after)


def _weight(metric, share, parts):
    """What a part's metric counts in that of the batch: sums and what `gradient` weighed as
    they are, means by what they are means over."""
    weights = {"loss": 1, "tokens": 1, "exact_match": 1 / parts}
    scored = ("task_loss", "accuracy", "soft_accuracy", "hard_accuracy")
    weights |= dict.fromkeys(scored, share.scored)
    return weights.get(metric, share.tokens)


def _tokens(batch):
    return jnp.sum(batch.mask, dtype=jnp.float32)
