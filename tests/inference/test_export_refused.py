"""An export that cannot be made: what is refused, and that nothing half-written is left."""

import sys
from types import SimpleNamespace

import pytest

from mocanet_jax import cli
from mocanet_jax import export as entry
from mocanet_jax.inference import export
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import safetensors


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("taken", ["directory", "file"])
def test_what_is_there_is_left_alone(finished, tmp_path, taken, monkeypatch):
    """Before any work: a user's files are not ours to replace."""
    out = tmp_path / "model"
    if taken == "directory":
        out.mkdir()
        (out / "mine").touch()
    else:
        out.touch()
    before = left_in(tmp_path)
    monkeypatch.setattr(export, "restored", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(UserError, match="is there already"):
        export.export_run(finished[0], out)
    assert left_in(tmp_path) == before


def test_a_directory_without_a_model_makes_nothing(tmp_path):
    with pytest.raises(UserError, match="no trained model"):
        export.export_run(tmp_path / "none", tmp_path / "model")
    assert left_in(tmp_path) == []


@pytest.fixture
def quick(monkeypatch):
    """Exports whose program is not made."""
    program = SimpleNamespace(serialize=lambda: b"program", platforms=("cpu",))
    monkeypatch.setattr(export, "exported", lambda run: program)


def test_a_full_disk_is_reported_in_one_line(finished, tmp_path, monkeypatch, quick):
    """And leaves nothing that looks like a model."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors, "save", full)
    with pytest.raises(UserError, match="model cannot be written: No space left on device"):
        export.export_run(finished[0], tmp_path / "model")
    assert left_in(tmp_path) == []


def test_an_interrupted_export_leaves_nothing(finished, tmp_path, monkeypatch, quick, capsys):
    """And says so, not that it can go on."""

    def interrupted(*_):
        raise KeyboardInterrupt

    out = str(tmp_path / "model")
    flags = SimpleNamespace(workdir=str(finished[0]), out=out, format="stablehlo")
    monkeypatch.setattr(entry.flags, "FLAGS", flags)
    monkeypatch.setattr(entry.signal, "signal", lambda *_: None)
    monkeypatch.setattr(safetensors, "save", interrupted)
    monkeypatch.setattr(cli.os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as left:
        entry.main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"workdir": None, "out": "model"}, "no run given"),
        ({"workdir": "runs/copy", "out": None}, "no place to write to"),
    ],
)
def test_a_missing_flag_is_named(monkeypatch, flags, message):
    monkeypatch.setattr(entry.flags, "FLAGS", SimpleNamespace(**flags))
    with pytest.raises(UserError, match=message):
        entry.main()
