"""The command `mocanet`: its words are those of the entry points."""

import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest

import mocanet_jax
from mocanet_jax import command
from tests.processes import entry_point

ROOT = Path(__file__).parents[2]
mocanet = partial(entry_point, "command")


@pytest.mark.parametrize(
    ("words", "module", "flags"),
    [
        (["train", "copy"], "main", ["--mode=train", "--config=copy"]),
        (["eval", "--workdir=runs/copy"], "main", ["--mode=eval", "--workdir=runs/copy"]),
        (["plot", "a", "b"], "plot", ["--workdir=a", "--workdir=b"]),
        (["ablate", "copy", "--seeds=2"], "ablate", ["--config=copy", "--seeds=2"]),
        (["chat"], "chat", []),
        (["plot", "copy:no_memory"], "plot", ["--workdir=runs/copy_no_memory"]),
        (["eval", "here"], "main", ["--mode=eval", "--workdir=here"]),
    ],
)
def test_a_word_is_an_entry_point_with_flags(monkeypatch, tmp_path, words, module, flags):
    """A run is named by its directory, or by the config that made it."""
    seen = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["mocanet", *words])
    run = lambda name, **_: seen.append((name, sys.argv[1:]))
    monkeypatch.setattr(command.runpy, "run_module", run)
    command.main()
    assert seen == [(f"mocanet_jax.{module}", flags)]


def test_an_unknown_word_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mocanet", "trian"])
    with pytest.raises(SystemExit) as done:
        command.main()
    assert done.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: mocanet has no command 'trian'; it has train, eval, chat")


@pytest.mark.parametrize("words", [["train", "copy", "config.seed=2"], ["suite", "copy"]])
def test_a_word_too_many_is_refused_in_one_line(monkeypatch, capsys, words):
    """Otherwise a flag without its dashes is taken for a config."""
    monkeypatch.setattr(sys, "argv", ["mocanet", *words])
    with pytest.raises(SystemExit) as done:
        command.main()
    assert done.value.code == 2
    line = f"error: unexpected word {words[-1]!r}; flags are written --name=value\n"
    assert capsys.readouterr().err == line


def test_help_of_a_word_is_that_of_its_entry_point(tmp_path):
    code, out, err = mocanet("chat", "--help", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("Judges texts as they are typed, with a trained classifier.")
    assert "--format: <text|json>" in out


def test_every_word_has_a_module_and_a_line_of_help(monkeypatch, capsys):
    for word, entry in command.ENTRIES.items():
        assert (ROOT / "mocanet_jax" / f"{entry.module}.py").exists()
        assert f"mocanet {word}" in command.__doc__


def test_a_config_is_found_by_name_from_any_directory(tmp_path):
    """And every field is printed with its meaning, without training anything."""
    code, out, err = mocanet("train", "copy:no_memory", "--print_config", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "model.memory.heads.ring.count" in out
    assert "τ, share in [0, 1]" in out
    assert list(tmp_path.iterdir()) == []


def test_every_package_of_the_source_is_in_the_wheel():
    """A folder that is not listed would be missing from an installed package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {
        ".".join(path.relative_to(ROOT).parent.parts)
        for path in (ROOT / "mocanet_jax").rglob("*.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == found | {"mocanet_jax.configs"}
    assert mocanet_jax.__version__


@pytest.mark.integration
def test_an_installed_package_is_whole(tmp_path):
    """From a wheel alone, in an environment and a directory of its own."""
    environment = tmp_path / "venv"
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q"]
    constraints = ["--constraint", str(ROOT / "launch" / "constraints.txt")]
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([*pip, *constraints, str(ROOT)], check=True)
    empty, run = tmp_path / "empty", str(environment / "bin" / "mocanet")
    empty.mkdir()
    small = ["--config.train.max_steps=20", "--config.eval.long_lengths=(120,)"]
    subprocess.run([run, "train", "copy", *small], cwd=empty, check=True)
    assert (empty / "runs" / "copy" / "result.json").exists()
    subprocess.run([run, "eval", "copy", *small[:0]], cwd=empty, check=True)
    subprocess.run([run, "chat", "--help"], cwd=empty, check=True)
