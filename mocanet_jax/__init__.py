"""MOCA-Net: routed experts and external memory under a compute budget, in JAX."""
