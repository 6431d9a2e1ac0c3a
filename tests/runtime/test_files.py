"""Files and directories that are whole or not there."""

import ast
import json
from pathlib import Path

import pytest

import mocanet_jax
from mocanet_jax.runtime.storage.files import new_directory, read_json, write_json


def test_json_is_replaced_whole(tmp_path):
    """A value that cannot be written leaves the earlier file as it was."""
    path = tmp_path / "result.json"
    write_json(path, {"steps": 3})
    assert json.loads(path.read_text()) == {"steps": 3}
    for value in (object(), float("nan"), float("inf")):
        with pytest.raises((TypeError, ValueError)):
            write_json(path, {"steps": value})
    assert json.loads(path.read_text()) == {"steps": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_not_utf_8_comes_back(tmp_path):
    write_json(tmp_path / "config.json", {"path": "caf\udce9 é"})
    assert read_json(tmp_path / "config.json") == {"path": "caf\udce9 é"}


def test_a_directory_appears_whole(tmp_path):
    """Otherwise a reader meets some of its files and not others."""
    path = tmp_path / "deeper" / "model"
    with new_directory(path) as folder:
        (folder / "a").touch()
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["a"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_directory_that_fails_leaves_nothing(tmp_path, error):
    """Whatever stops it: half a model must not be taken for one."""

    def write():
        with new_directory(tmp_path / "model") as folder:
            (folder / "a").touch()
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_never_replaces_what_came_meanwhile(tmp_path):
    """Otherwise somebody's files are lost between the check and the move."""
    path = tmp_path / "model"

    def write():
        with new_directory(path):
            path.mkdir()
            (path / "mine").touch()

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [file.name for file in path.iterdir()] == ["mine"]
    assert list(tmp_path.iterdir()) == [path]


def _binary(call):
    """`open` where the call names a binary mode."""
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    return {"open"} if {"rb", "wb", "r+b"} & set(modes) else set()


def test_text_has_one_encoding():
    """Otherwise a file that is written on one machine cannot be read on another, whose locale
    says otherwise."""
    text_modes, met = {"read_text", "write_text", "TextIOWrapper", "open"}, 0
    for file in Path(mocanet_jax.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for call in (node for node in nodes if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            if name.rpartition(".")[2] in text_modes - _binary(call) and name != "os.open":
                met += 1
                named = [keyword.arg for keyword in call.keywords]
                assert "encoding" in named, f"{file.name}, line {call.lineno}"
    assert met >= 4
