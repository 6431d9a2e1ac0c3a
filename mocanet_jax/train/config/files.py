"""Config files by name: "copy", "copy:no_memory", "configs/copy.py", "DIR/mine.py:ARGUMENT".

A name is a path that exists, with or without `.py` or the folder `configs/`, or else one of
the configs that come with the package. After a colon is what get_config is called with.
"""

import difflib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from mocanet_jax.runtime.errors import UserError, summary
from mocanet_jax.runtime.imports import search_also
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.train.config import ABLATIONS
from mocanet_jax.train.config.settings import MOCA

_PACKAGE = Path(__file__).parents[2]


def shipped() -> Path:
    """The folder of the package's configs: in it when it is installed, beside it in a
    checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def shipped_names() -> list[str]:
    return sorted(path.stem for path in shipped().glob("*.py") if path.stem != "__init__")


def split(name: str) -> tuple[Path, str]:
    """The file that a name stands for, and what follows its colon, "" for nothing.

    Raises UserError where there is no such file.
    """
    local_path(name)
    for path_name, argument in _splits(name):
        for path in _paths(path_name):
            if os.path.isfile(path):  # which is False for names that are too long
                return path, argument
    raise UserError(
        f"--config={name}: no such file, and no config of this name; the package has "
        f"{', '.join(shipped_names())}{_hint(name)}"
    )


def _hint(name):
    short, names = Path(name.partition(":")[0]).stem, shipped_names()
    for known in names:
        if short in getattr(run_file(shipped() / f"{known}.py"), "TASKS", ()):
            return f"; did you mean {known}:{short}?"
    near = difflib.get_close_matches(short, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """A name cut at each of its colons, which its folders may have too."""
    parts = name.split(":")
    for count in range(len(parts), 0, -1):
        yield ":".join(parts[:count]), ":".join(parts[count:])


def _paths(name: str) -> Iterator[Path]:
    path = Path(name)
    if not path.name:
        return
    if path.suffix != ".py":
        path = path.with_name(f"{path.name}.py")
    yield path
    if path.parts[:-1] in ((), ("configs",)):
        yield Path("configs", path.name)
        yield shipped() / path.name


def canonical(name: str) -> str:
    """The name by which a config is reported: configs/copy.py for one of the package."""
    path, argument = split(name)
    if _is_shipped(path):
        path = Path("configs", path.name)
    return f"{path}:{argument}" if argument else str(path)


def _is_shipped(path):
    return path.resolve().parent == shipped().resolve()


def ablations_of(name: str) -> list[str]:
    """The ablations in a config's name."""
    return [part for part in split(name)[1].split(",") if part in ABLATIONS]


def load(name: str) -> ConfigDict:
    """The config of this name, locked. Modules beside its file can be imported.

    Raises UserError where there is none, or its file fails.
    """
    path, argument = split(name)
    if not _is_shipped(path):
        folder = path.absolute().parent
        package = [folder.parent] if (folder / "__init__.py").exists() else []
        search_also([folder, *package])
    try:
        get_config = run_file(path).get_config
        config = get_config(argument) if argument else get_config()
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        ended = "it ends the process with " if isinstance(error, SystemExit) else ""
        raise UserError(f"--config={name}: {ended}{summary(error)}") from error
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"--config={name}: get_config returned {kind}, not a ConfigDict")
    return config.lock()


def run_file(path: Path) -> ModuleType:
    """A config file as a module. Raises whatever the file does."""
    module_name = f"mocanet_config_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def default_workdir(name: str, model: str = MOCA) -> Path:
    """runs/copy for configs/copy.py, runs/copy_no_memory for configs/copy.py:no_memory, with
    the name of a baseline added.

    model: config.model.name.
    """
    path, argument = split(name)
    baseline = "" if model == MOCA else model
    return Path("runs", "_".join(filter(None, [path.stem, *argument.split(","), baseline])))
