"""A labelled corpus in a few lines of text, and the command that prints them."""

import runpy
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from mocanet_jax import inspect
from mocanet_jax.report.corpus import describe
from tests.cli.test_cli import CONFIG, TEXTS
from tests.tasks.text.small_corpus import corpus

TRAIN = [
    ("a warm film", 1),
    ("dull", 0),
    ("warm café", 1),
    ("a dull , dull film", 0),
    ("film", 1),
]
VALIDATION = [("a witty film", 1), ("so dull", 0)]
CLASSES = ("negative", "positive")

LOOK = """\
train: 5 texts, 12 tokens
  negative: 40.0%, positive: 60.0%
  tokens per text: mean 2.4, median 2, 95 % up to 4, longest 5
validation: 2 texts, 5 tokens
  negative: 50.0%, positive: 50.0%
  tokens per text: mean 2.5, median 2, 95 % up to 2, longest 3
words: 6 in train, 2 of them once
  unknown in validation: 40.00% of tokens
samples:
  positive  a warm film
  negative  dull
  positive  warm café
  negative  a dull , dull film
  positive  film
  positive  a witty film
  positive  a witty film
  positive  a witty film
  positive  a witty film
  negative  so dull"""
"""Lengths 3, 1, 2, 5, 1 and 3, 2. Once: "café" and ",". Unknown: "witty" and "so"."""


def test_the_description_by_hand():
    """Sizes or balance that are wrong there hide a wrong corpus."""
    found = describe(corpus(TRAIN), corpus(VALIDATION), CLASSES)
    assert found.splitlines() == LOOK.splitlines()


def test_a_class_without_texts_has_a_share_of_zero():
    """Otherwise the shares are printed for the wrong classes."""
    found = describe(corpus(TRAIN), corpus(VALIDATION), (*CLASSES, "neutral"))
    assert "  negative: 40.0%, positive: 60.0%, neutral: 0.0%\n" in found


def command(*arguments):
    """Runs the module as a command in this process; returns its exit code."""
    saved, argv, path = flagsaver.save_flag_values(), sys.argv, list(sys.path)
    sys.argv = ["inspect", *arguments]
    others = {name: flags.FLAGS[name] for name in ("config",) if name in flags.FLAGS}
    for name in others:
        delattr(flags.FLAGS, name)
    try:
        runpy.run_path(inspect.__file__, run_name="__main__")
    except SystemExit as done:
        return done.code or 0
    finally:
        delattr(flags.FLAGS, "config")
        for name, flag in others.items():
            flags.FLAGS[name] = flag
        flagsaver.restore_flag_values(saved)
        sys.argv, sys.path[:] = argv, path
    raise AssertionError("the command returned without an exit code")


@pytest.fixture
def folder(tmp_path):
    """GLUE's two files."""
    for name, rows in (("train.tsv", TRAIN), ("dev.tsv", VALIDATION)):
        lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_a_description_from_the_command_line(folder, capsys):
    """The command in the module's description must print that."""
    assert command(TEXTS, f"--config.data.path={folder}") == 0
    assert capsys.readouterr() == (LOOK + "\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no config given"),
        ([CONFIG], "copy has no labelled texts to look at"),
        ([TEXTS, "--config.data.path=none"], "none: there is no train.tsv"),
    ],
)
def test_a_mistake_is_reported_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
