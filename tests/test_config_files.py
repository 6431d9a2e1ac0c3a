"""Configs by name, from any folder: which file a name stands for, and what it can import."""

import sys
from pathlib import Path

import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config.settings import plain

OWN = """
from mocanet_jax import base_config
{imports}

def get_config(name="none"):
    config = base_config()
    config.task = {task}
    config.train.max_steps = len(name)
    return config
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, empty; what imports look into is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def write(path, imports="", task="'copy'"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OWN.format(imports=imports, task=task))


@pytest.mark.parametrize("name", ["copy", "copy.py", "configs/copy", "configs/copy.py"])
def test_a_name_stands_for_a_config_of_the_package(folder, name):
    assert config_files.split(f"{name}:no_memory") == (
        config_files.shipped() / "copy.py",
        "no_memory",
    )
    assert config_files.canonical(name) == "configs/copy.py"
    assert config_files.load(name).task == "copy"


@pytest.mark.parametrize("path", ["copy.py", "configs/copy.py"])
def test_a_file_that_is_there_comes_before_one_of_the_package(folder, path):
    """Otherwise a user's copy of a config is edited without any effect."""
    write(folder / path)
    assert config_files.split("copy")[0] == Path(path)
    assert config_files.load("copy:abc").train.max_steps == 3


def test_a_folder_of_the_same_name_is_no_config(folder):
    (folder / "copy").mkdir()
    assert config_files.load("copy").task == "copy"


@pytest.mark.parametrize("name", ["a:b", "[old]", "with space", "ünï"])
def test_any_folder_can_hold_a_config(folder, name):
    """Otherwise a colon in a path cuts it."""
    write(folder / name / "mine.py")
    assert config_files.load(f"{folder / name / 'mine.py'}:ab").train.max_steps == 2
    assert config_files.load(f"{name}/mine").train.max_steps == 4


def test_a_config_imports_what_is_beside_it(folder):
    """From another folder; so does the task that it names."""
    (folder / "own").mkdir()
    (folder / "own" / "beside_it.py").write_text("TASK = 'mqar'\n")
    write(folder / "own" / "mine.py", "import beside_it", "beside_it.TASK")
    assert config_files.load("own/mine.py").task == "mqar"


def test_a_config_in_a_package_imports_the_package(folder):
    package = folder / "elsewhere" / "own_configs"
    write(package / "base.py")
    (package / "__init__.py").touch()
    write(package / "mine.py", "from own_configs import base", "base.get_config().task")
    assert config_files.load(str(package / "mine.py")).task == "copy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "invalid syntax"),
        ("x = 1", "has no attribute 'get_config'"),
        ("def get_config():\n    return {}", "get_config returned dict, not a ConfigDict"),
        ("def get_config():\n    raise ValueError('two\\nlines')", "two lines"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    ],
)
def test_a_file_that_fails_is_refused_in_one_line(folder, text, message):
    (folder / "mine.py").write_text(text)
    with pytest.raises(UserError) as error:
        config_files.load("mine.py")
    assert str(error.value).startswith("--config=mine.py: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", ":", "none", "x" * 300, "a/b/copy", "\0", "__init__x"])
def test_a_name_of_nothing_is_refused_with_those_there_are(folder, name):
    known = r"no such file.*associative_recall, copy, facts, formal_lang"
    with pytest.raises(UserError, match=known):
        config_files.load(name)


@pytest.mark.parametrize(
    ("name", "model", "directory"),
    [
        ("copy", "moca", "copy"),
        ("configs/copy.py:no_memory", "moca", "copy_no_memory"),
        ("copy", "lstm", "copy_lstm"),
        ("formal_language:reverse_string", "moca", "formal_language_reverse_string"),
        ("formal_language:odds_first,no_memory", "lstm", None),
    ],
)
def test_a_directory_is_named_after_config_and_baseline(name, model, directory):
    """Otherwise a baseline finds a run of another model in its directory, and is refused."""
    directory = directory or "formal_language_odds_first_no_memory_lstm"
    assert config_files.default_workdir(name, model) == Path("runs", directory)


def test_every_config_is_the_same_from_anywhere(folder):
    for name in config_files.shipped_names():
        argument = {"formal_language": ":odds_first", "ptb": ":words"}.get(name, "")
        assert plain(config_files.load(name + argument))["task"]
