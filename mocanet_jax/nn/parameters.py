"""Parameters and what is declared of them where they are made: weight decay, and the axis that
devices split.

    self.keys = declared(self, "keys", init, (heads, slots, width), decay=False)

Declarations are recorded while a model is initialised within `recorded`; the arrays themselves
are plain.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import flax.linen as nn
import jax

from mocanet_jax.runtime.tree_paths import path_names

Path = tuple[str, ...]

UNDECAYED = ("bias", "scale")
"""Parameters of Flax's own modules that weight decay leaves alone (Dense, LayerNorm,
RMSNorm)."""


class Declaration(NamedTuple):
    """decay: whether weight decay applies. axis: logical name (nn/partition.py) of the first
    axis, None for parameters that every device holds whole. ndim: number of axes of each leaf,
    by its path below the parameter; a transformation (nn.vmap) puts further axes before them.
    """

    decay: bool
    axis: str | None
    ndim: dict[Path, int]


class Declarations(dict):
    """Declarations by the path of the parameter that they were made for."""

    def _find(self, path: Path) -> tuple[Declaration | None, Path]:
        for end in range(len(path), 0, -1):
            if path[:end] in self:
                return self[path[:end]], path[end:]
        return None, path

    def decays(self, path: Path) -> bool:
        """Whether weight decay applies to the leaf at `path`."""
        declaration, _ = self._find(path)
        return (declaration is None or declaration.decay) and path[-1] not in UNDECAYED

    def split_axis(self, path: Path, ndim: int) -> tuple[str, int] | None:
        """Logical name and number of the axis that devices split, of a leaf with `ndim`
        axes."""
        declaration, rest = self._find(path)
        if declaration is None or declaration.axis is None:
            return None
        return declaration.axis, ndim - declaration.ndim[rest]


_recorder: ContextVar[Declarations | None] = ContextVar("declarations", default=None)


@contextmanager
def recorded() -> Iterator[Declarations]:
    """Records what modules declare while they are initialised inside of it."""
    declarations = Declarations()
    token = _recorder.set(declarations)
    try:
        yield declarations
    finally:
        _recorder.reset(token)


def shapes_and_declarations(init: Callable, *arguments) -> tuple[dict, Declarations]:
    """Shapes and dtypes of the parameters that `init(*arguments)` makes, and what is declared
    of them. Nothing is computed."""
    with recorded() as declarations:
        shapes = jax.eval_shape(lambda: init(*arguments))
    return shapes, declarations


def declared(
    module: nn.Module,
    name: str,
    init: Callable,
    *arguments,
    decay: bool = True,
    axis: str | None = None,
):
    """`module.param(name, init, *arguments)`, an array or a pytree of arrays.

    decay: False for a parameter with a scale of its own, which weight decay would distort.
    axis: logical name of the first axis of every leaf, to be split over devices.
    """
    value = module.param(name, init, *arguments)
    declarations = _recorder.get()
    if declarations is not None:
        leaves = jax.tree_util.tree_leaves_with_path(value)
        ndim = {path_names(path): leaf.ndim for path, leaf in leaves}
        declarations[(*module.path, name)] = Declaration(decay, axis, ndim)
    return value
