"""What modules and classes say of themselves, read from their source: importing them would load
JAX, which takes long."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]

ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?P<text>.*)$")


def first_line(module: str) -> str:
    """Of the module's docstring. Raises ModuleNotFoundError where there is no such module."""
    return (ast.get_docstring(_tree(module)) or "").partition("\n")[0]


def attributes(module: str, name: str) -> dict[str, str]:
    """What the "Attributes:" sections of a class and of its bases say, by attribute, on one
    line each; what a class says precedes its bases."""
    found: dict[str, str] = {}
    for home, ancestor in reversed(ancestors(module, name)):
        found |= _section(ast.get_docstring(_class(home, ancestor)) or "")
    return found


def classes(module: str, table: str) -> dict[str, tuple[str, str]]:
    """Of a module's dict literal of classes: keys, and module and name of each class."""
    tree = _tree(module)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table:
            names = {
                key.value: value.id
                for key, value in zip(node.value.keys, node.value.values, strict=True)
            }
            return {key: (_home(tree, module, name), name) for key, name in names.items()}
    raise KeyError(table)


def ancestors(module: str, name: str) -> list[tuple[str, str]]:
    """A class and its bases, as far as they are defined beside it or imported by name: module
    and name of each, the class first; nothing of a class that is not there."""
    node = _class(module, name)
    if node is None:
        return []
    found = [(module, name)]
    for base in node.bases:
        if isinstance(base, ast.Name):
            found += ancestors(_home(_tree(module), module, base.id), base.id)
    return found


def defaults(module: str, name: str) -> dict[str, Any]:
    """The fields of a dataclass with a literal default, those of its bases first."""
    found: dict[str, Any] = {}
    for home, ancestor in reversed(ancestors(module, name)):
        for node in _class(home, ancestor).body:
            is_field = isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node)
            if is_field and isinstance(node.value, ast.Constant):
                found[node.target.id] = node.value.value
    return found


def _class(module, name) -> ast.ClassDef | None:
    found = (node for node in _tree(module).body if isinstance(node, ast.ClassDef))
    return next((node for node in found if node.name == name), None)


@cache
def _tree(module):
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    return ast.parse(path.read_text(encoding="utf-8"))


def _path(module) -> Path | None:
    root, *parts = module.split(".")
    if root == PACKAGE.name:  # find_spec would import the packages around it
        path = PACKAGE.joinpath(*parts)
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    spec = find_spec(module)
    return Path(spec.origin) if spec and spec.origin else None


def _home(tree, module, name):
    """The module that `name` is imported from, or this one."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.module
    return module


def _section(docstring):
    """The entries `name, name: text` of a section, whose further lines are indented more."""
    _, _, section = docstring.partition("Attributes:\n")
    section = section.partition("\n\n")[0]
    found, names = {}, []
    for line in section.splitlines():
        if not line.startswith(" "):
            break
        if entry := ENTRY.match(line.strip()):
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
