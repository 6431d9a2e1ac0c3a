"""The delta rule on rows of a table, token by token, with a hand-written gradient.

Axes: T time, N memories, A active slots per access, P value width, S slots.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class RowAccesses(NamedTuple):
    """Accesses to one table of rows.

    wi, ri: row numbers [T, N, A]. w, u: weights [T, N, A] of
    writes and reads, u with the decay at the read folded in. value: [T, N, P]. beta: [T, N].
    decay: [T, N, A], applied to the rows that are written; None for none.
    """

    wi: jax.Array
    w: jax.Array
    ri: jax.Array
    u: jax.Array
    value: jax.Array
    beta: jax.Array
    decay: jax.Array | None


@jax.custom_vjp
def scan_rows(table, rows):
    """The recurrent form on one table of rows, [N·S, P].

    Returns reads [T, N, P] and the table after the last step.

    Differentiating the scan would add a dense table of gradients at every step;
    the gradient below touches the same A rows as the forward pass.
    """
    return _scan_rows_forward(table, rows)[0]


def _decayed(rows, decay):
    """rows: [..., A, P]. decay: [..., A] or None."""
    return rows if decay is None else decay[..., None] * rows


def _scan_rows_forward(table, rows):
    def one_step(table, x):
        wi, w, ri, u, value, beta, decay = x
        found = table[wi]
        rows = _decayed(found, decay)
        delta = beta[:, None] * (value - jnp.einsum("na,nap->np", w, rows))
        rows = rows + w[..., None] * delta[:, None]
        table = table.at[wi].set(rows, unique_indices=True)
        read = table[ri]
        return table, (jnp.einsum("na,nap->np", u, read), found, read)

    table, (reads, found, read) = jax.lax.scan(one_step, table, rows)
    return (reads, table), (rows, found, read)


def _scan_rows_backward(residuals, cotangents):
    d_reads, d_table = cotangents

    def one_step(d_table, x):
        (wi, w, ri, u, value, beta, decay), found, read, d_read = x
        d_table = d_table.at[ri].add(u[..., None] * d_read[:, None], unique_indices=True)
        d_written, rows = d_table[wi], _decayed(found, decay)
        d_delta = jnp.einsum("na,nap->np", w, d_written)
        d_value = beta[:, None] * d_delta
        d_rows = d_written - w[..., None] * d_value[:, None]
        d_table = d_table.at[wi].set(_decayed(d_rows, decay), unique_indices=True)
        error = value - jnp.einsum("na,nap->np", w, rows)
        d_w = jnp.einsum("nap,np->na", d_written, beta[:, None] * error)
        d_w -= jnp.einsum("nap,np->na", rows, d_value)
        d_u = jnp.einsum("nap,np->na", read, d_read)
        d_decay = None if decay is None else jnp.sum(d_rows * found, axis=-1)
        return d_table, (d_w, d_u, d_value, jnp.sum(d_delta * error, axis=-1), d_decay)

    d_table, (d_w, d_u, d_value, d_beta, d_decay) = jax.lax.scan(
        one_step, d_table, (*residuals, d_reads), reverse=True
    )
    return d_table, RowAccesses(None, d_w, None, d_u, d_value, d_beta, d_decay)


scan_rows.defvjp(_scan_rows_forward, _scan_rows_backward)
