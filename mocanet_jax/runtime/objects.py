"""Objects of the user's own, named in a config as module:Class."""

import importlib
import sys
from pathlib import Path
from typing import Any

from mocanet_jax.runtime.errors import UserError


def import_object(name: str) -> Any:
    """What `module:Class` names, with the current directory among the places to import from.

    Raises UserError where there is none.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise UserError(f"{name}: cannot import {module!r}: {error}") from error
    except AttributeError as error:
        raise UserError(f"{name}: module {module!r} has no {attribute!r}") from error
