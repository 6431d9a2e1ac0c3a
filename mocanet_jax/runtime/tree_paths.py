"""Names of the leaves of nested dictionaries, as of parameters."""

import jax


def path_names(path) -> tuple[str, ...]:
    """Names of the dictionary keys along a path of jax.tree_util."""
    return tuple(part.key for part in path if isinstance(part, jax.tree_util.DictKey))
