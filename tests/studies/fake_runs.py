"""Variants, cells and results of studies without training, and their entry points."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from absl import flags

from mocanet_jax.studies import study
from mocanet_jax.studies.variants import Variant

RESULT = {
    "evaluated_step": 180,
    "within_budget": None,
    "trained_steps": 200,
    "train_seconds": 5.0,
    "wall_seconds": 20.0,
    "parameters": 1000,
    "state_size": 64,
    "state_bytes": 260,
    "validation_loss": 0.25,
    "solved_step": None,
    "solved_seconds": None,
    "eval/accuracy": 0.5,
    "eval/flops_per_token": 3000,
    "eval/usage": 0.4,
    "eval/usage_experts": 0.25,
    "eval/usage_writes": 1.0,
    "eval/usage_reads": 0.5,
}


def variant(name: str, **settings) -> Variant:
    return Variant(name, (f"--config={name}",), {"name": name, "seed": 0}, settings)


def outcome(of: Variant, seed: int, **changes) -> study.Outcome:
    """A run that ended well; changes: of RESULT, by the names after "eval/"."""
    changed = {f"eval/{name}": value for name, value in changes.items()}
    cell = study.Cell(of, seed, Path("out", of.name, f"seed_{seed}"))
    return study.Outcome(cell, RESULT | changed, "", 20.0)


def failed(of: Variant, seed: int, problem: str) -> study.Outcome:
    return outcome(of, seed)._replace(result=None, problem=problem)


def leave_result(cell: study.Cell, config: dict | None = None, **changes) -> None:
    """What a finished run leaves of itself; config: another than the cell's. changes: of
    RESULT."""
    cell.workdir.mkdir(parents=True, exist_ok=True)
    kept = cell.config if config is None else config
    (cell.workdir / "config.json").write_text(json.dumps(kept))
    (cell.workdir / "result.json").write_text(json.dumps(RESULT | changes))


def call(module, arguments, monkeypatch, capsys) -> tuple[int, str]:
    """Runs an entry point with these arguments: its exit code, and what it printed."""
    values = flags.FlagValues()
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    monkeypatch.setattr(flags, "FLAGS", values)
    module.define_flags(values)
    values(sys.argv)
    try:
        module.main()
    except SystemExit as stop:
        return stop.code, capsys.readouterr().out
    return 0, capsys.readouterr().out


class FakeProcess:
    """A run that ends at once with an exit code; None goes on until it is killed, and
    ignores being interrupted."""

    def __init__(self, code: int | None):
        self.returncode, self.signals = code, []

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        self.signals.append(number)

    def wait(self, timeout=None):
        if self.returncode is None:
            raise subprocess.TimeoutExpired("run", timeout)
        return self.returncode

    def kill(self):
        self.signals.append(signal.SIGKILL)
        self.returncode = -signal.SIGKILL


class FakeRuns:
    """In place of study_cli.start_run: runs end with `codes`, by name of the variant, else 0.

    started: the cells, in order. processes: theirs, by name.
    """

    def reached(self, cell: study.Cell) -> dict:
        """What a run's result has in place of RESULT's values."""
        return {}

    def __init__(self, **codes):
        self.codes, self.started, self.processes = codes, [], {}

    def __call__(self, cell: study.Cell) -> FakeProcess:
        name = cell.variant.name
        self.started.append((name, cell.seed))
        code = self.codes.get(name, 0)
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        if code == 0:
            leave_result(cell, **self.reached(cell))
        cell.log.write_text("compiled\nerror: no such data\n" if code else "done\n")
        self.processes[name] = FakeProcess(code)
        return self.processes[name]
