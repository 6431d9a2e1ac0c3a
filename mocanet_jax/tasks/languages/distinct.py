"""Drawing without replacement.

Axes: B batch.
"""

import jax
import jax.numpy as jnp


def distinct(key: jax.Array, batch: int, count: int, pool: int) -> jax.Array:
    """Different numbers in each row, every ordered choice of them equally likely.

        ranks drawn 2 0 1 of a pool of 4  ->  numbers 2 0 3
        the third: 1 of the two that are left, 1 and 3, counting from 0

    The i-th draw is uniform over the pool − i numbers that are left, as a rank among them.
    Ranks become numbers from the last to the first: what was drawn later and is not below a
    number drawn earlier moves up by one (the decoding of a Lehmer code). That is count²
    comparisons a row, however large the pool is.

    Returns int32 [B, count] in [0, pool). Raises ValueError where count exceeds pool.
    """
    if count > pool:
        raise ValueError(f"there are no {count} different numbers among {pool}")
    place = jnp.arange(count)[None]
    ranks = jax.random.randint(key, (batch, count), 0, pool - place)

    def make_room(done, numbers):
        earlier = count - 1 - done
        number = jax.lax.dynamic_slice_in_dim(numbers, earlier, 1, axis=1)
        return numbers + ((place > earlier) & (numbers >= number))

    return jax.lax.fori_loop(0, count, make_room, ranks)
