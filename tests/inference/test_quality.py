"""Which checkpoint to use, and whether it is good enough."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mocanet_jax import quality as entry
from mocanet_jax.inference import quality
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.report.quality import show
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.labelled import read_tsv
from mocanet_jax.train.checkpoints.checkpoint import saved_run
from tests.train import tiny


def candidate(step, accuracy, held_out_loss, usage=0.2, run="run", judged_by="texts"):
    numbers = accuracy, 0.05, usage, held_out_loss, usage <= 0.3, 0.75, 0.8
    return quality.Candidate(Path(run), step, *numbers, "sst2, 9 texts of DIR", judged_by)


@pytest.fixture
def compare(monkeypatch, capsys):
    """candidates → (exit code, output) of the command."""

    def run(*candidates):
        flags = SimpleNamespace(workdir=["run"], sentences=str(entry.SENTENCES))
        monkeypatch.setattr(entry.flags, "FLAGS", flags)
        monkeypatch.setattr(quality, "candidates", lambda workdir, sentences: candidates)
        try:
            entry.main()
        except SystemExit as stop:
            return stop.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_the_lowest_held_out_loss_is_the_one_to_use(compare):
    """Choosing by validation accuracy would tune on what is reported."""
    code, out = compare(candidate(1, 0.81, 0.3), candidate(2, 0.9, 0.4))
    assert code == 0
    assert "use run, step 1" in out
    assert "81.00%" in out
    assert "90.00%" in out


def test_a_checkpoint_within_its_budget_is_preferred(compare):
    """Otherwise the one to use is not the one that chat and evaluation use."""
    _, out = compare(candidate(1, 0.81, 0.3, usage=0.31), candidate(2, 0.9, 0.4))
    assert "use run, step 2, within its budget" in out


def test_where_none_is_within_its_budget_the_lowest_loss_is_used(compare):
    """Usage a little above the target is no measure of how well a checkpoint is trained."""
    _, out = compare(candidate(1, 0.9, 0.7, usage=0.301), candidate(2, 0.9, 0.3, usage=0.4))
    assert "use run, step 2, though no checkpoint is within budget" in out


def test_a_best_below_the_target_fails(compare):
    """The exit code is what a script goes by; the target of these is 0.8."""
    code, out = compare(candidate(1, 0.79, 0.3), candidate(2, 0.9, 0.4))
    assert code == 1
    assert "validation accuracy 79.00%, wanted 80.00%" in out
    assert compare(candidate(1, 0.8, 0.3))[0] == 0


def test_losses_of_other_texts_are_not_compared(compare):
    """0.3 of easy texts is no better than 0.4 of hard ones; each run has its best."""
    _, out = compare(
        candidate(1, 0.9, 0.3, run="a", judged_by="easy"),
        candidate(2, 0.9, 0.2, run="a", judged_by="easy"),
        candidate(1, 0.9, 0.4, run="b", judged_by="hard"),
    )
    assert "use a, step 2" in out
    assert "use b, step 1" in out
    assert "held-out losses are of different texts" in out
    assert "a was trained on sst2, 9 texts of DIR" in out


def test_no_run_is_an_error(monkeypatch):
    monkeypatch.setattr(entry.flags, "FLAGS", SimpleNamespace(workdir=None))
    with pytest.raises(UserError, match="pass one"):
        entry.main()


def test_every_kept_checkpoint_is_compared_with_its_own_numbers(two_checkpoints):
    """Otherwise the table mixes checkpoints up."""
    workdir, _ = two_checkpoints
    sentences = read_tsv(entry.SENTENCES, 2).take(np.arange(6))
    with saved_run(workdir) as checkpoints:
        steps = checkpoints.steps()
        recorded = [checkpoints.progress(step).validation for step in steps]
    found = quality.candidates(workdir, sentences)
    assert [c.step for c in found] == steps
    for c, validation in zip(found, recorded, strict=True):
        assert (c.accuracy, c.ece) == (validation["accuracy"], validation["ece"])
        assert (c.held_out_loss, c.usage) == (validation["held_out_loss"], validation["usage"])
        assert c.within_budget
    predictor = TextPredictor(workdir, steps[-1])
    right = [
        predictor.predict(text).predicted == label
        for text, label in zip(sentences.texts, sentences.labels, strict=True)
    ]
    assert found[-1].sentences == np.mean(right)
    console = tiny.console()
    show(console, found, [found[-1]])
    assert f"use {workdir}, step {steps[-1]}" in tiny.printed(console).replace("\n", "")


def test_the_quality_sentences_are_balanced_and_half_of_them_hard():
    """Otherwise one class or the easy half decides."""
    with entry.SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = [row["label"] for row in rows]
    assert len(rows) >= 60
    assert labels.count("0") == labels.count("1") == len(rows) / 2
    hard = [row["kind"] in ("negation", "contrast", "mixed") for row in rows]
    assert sum(hard) == len(rows) / 2
    assert len({row["sentence"] for row in rows}) == len(rows)
