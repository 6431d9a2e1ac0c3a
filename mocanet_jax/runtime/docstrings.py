"""Docstrings of modules and classes that are not imported, since importing them takes long."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?P<text>.*)$")


def first_line(module: str) -> str:
    """Of the module's docstring. Raises ModuleNotFoundError where there is no such module."""
    return (ast.get_docstring(_tree(module)) or "").partition("\n")[0]


def attributes(module: str, name: str) -> dict[str, str]:
    """What the "Attributes:" sections of a class and of its bases say, by attribute, on one
    line each; what a class says precedes its bases."""
    tree = _tree(module)
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            found = _section(ast.get_docstring(node) or "")
            for base in node.bases:
                if isinstance(base, ast.Name):
                    found = attributes(_home(tree, module, base.id), base.id) | found
    return found


@cache
def _tree(module):
    spec = find_spec(module)
    if spec is None or not spec.origin:
        raise ModuleNotFoundError(f"No module named {module!r}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


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
