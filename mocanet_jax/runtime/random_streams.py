"""Independent streams of random keys, all of them functions of one seed."""

import jax

TRAIN, INIT, VALIDATION, TEST = range(4)


def stream(seed: int | jax.Array, name: int) -> jax.Array:
    """The key of one stream.

    seed: uint32 [], an argument of compiled programs, so that one program serves all seeds.
    name: TRAIN, INIT, VALIDATION or TEST.
    """
    return jax.random.fold_in(jax.random.key(seed), name)
