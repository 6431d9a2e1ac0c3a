"""Objects by name, and modules that can be called."""

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from mocanet_jax.runtime.errors import UserError


def import_object(name: str, field: str) -> Any:
    """The object that "module:Name" names, with dots in the module and in the name.

    field: of the config, for the message. Raises UserError for a module that cannot be
    imported, whatever it raises, and for a name that it does not have.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise UserError(f"{field}: {name!r} is not of the form module:Name")
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UserError(
            f"{field}={name}: cannot import {module_name!r} ({_line(error)}); it has to be "
            "in the config's folder, in the current one or on PYTHONPATH"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise UserError(f"{field}={name}: {module_name!r} has no {path!r}")
        found = getattr(found, part)
    return found


def _line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def search_also(folders: Iterable[Path]) -> None:
    """Lets imports look into `folders`, after everything that they look into already."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)


def make_callable(module: str, function: Callable) -> None:
    """Lets the imported module of this name be called, as `function`: for a subpackage and a
    public function of one name. See docs.python.org/3/reference/datamodel.html, "Customizing
    module attribute access"."""

    class CallableModule(ModuleType):
        __call__ = staticmethod(function)

    sys.modules[module].__class__ = CallableModule
