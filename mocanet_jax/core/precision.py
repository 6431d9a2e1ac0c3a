"""Half the bits where many numbers are moved, and all of them where they add up.

With bfloat16 activations (Kalamkar et al., 2019, "A Study of BFLOAT16 for Deep Learning
Training") the residual stream and the operands of matrix products have 16 bits. States, what
is decided from them, sums of products, means of norms and the loss have at least 32.
"""

import jax
import jax.numpy as jnp


def full(x: jax.Array) -> jax.Array:
    """x with at least 32 bits: float32 for bfloat16, else as it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., n] times kernel [n, m], whose operands have the type of x; sums and result
    [..., m] are full."""
    kernel = kernel.astype(x.dtype)
    return jnp.matmul(x, kernel, preferred_element_type=full(x).dtype)
