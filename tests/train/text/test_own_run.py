"""A run on texts of one's own with three labels, from its files to its answers."""

import numpy as np
import pytest

from configs import text
from mocanet_jax.chat import Session
from mocanet_jax.inference.export import exported
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.report.run import report
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import loop
from mocanet_jax.train.restore import restored
from tests.train import tiny

LABELS = ("2 days late", "broken", "thanks, all good")
WORDS = (("late", "parcel"), ("cracked", "noise"), ("great", "fast"))
FILLERS = ("the", "it", "is", "a", "my", "and", "with", "screen")

pytestmark = pytest.mark.integration


def write(file, count, seed):
    """A table with semicolons, of texts of three to six words, one of which gives the label."""
    rng, lines = np.random.default_rng(seed), ["id;review;kind of mail"]
    for i in range(count):
        words = rng.choice(FILLERS, rng.integers(3, 7)).tolist()
        words[rng.integers(len(words))] = str(rng.choice(WORDS[i % 3]))
        lines.append(f"{i};{' '.join(words)};{LABELS[i % 3]}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tiny_config(folder, **changes):
    config = text.get_config()
    config.data.update(
        path=str(folder), label_column="kind of mail", num_pieces=64, max_pieces=4
    )
    config.model.width = 16
    config.model.experts.update(hidden_dim=16, count=2)
    config.model.memory.num_slots = 4
    config.model.budget.target = 1.0
    config.model.classifier.piece_dim = 4
    config.train.update(batch_size=16, max_steps=150, warmup_steps=5, learning_rate=0.02)
    config.train.update(log_every=50, eval_every=50, save_every=50, average_decay=0.8)
    return tiny.changed(config, changes).lock()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mail")
    write(folder / "train.csv", 240, 0)
    write(folder / "test.csv", 60, 1)
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """(directory, result, what was printed). Not to be changed."""
    workdir, console = tmp_path_factory.mktemp("own") / "run", tiny.console()
    result = loop.train(tiny_config(folder), workdir, tiny.TrainingDisplay(console))
    report(result, console)
    return workdir, result.summary, tiny.printed(console)


def test_it_learns_three_labels(run):
    """Every label by its name, in the file and on the screen."""
    _, summary, printed = run
    assert summary["test/accuracy"] > 0.9
    assert set(summary["test/by_class"]) == set(LABELS)
    counts = [sum(row.values()) for row in summary["test/confusion"].values()]
    assert counts == [20, 20, 20]
    assert "labels in 'kind of mail'" in printed
    assert "3 labels in training: " in printed
    assert "macro-F1" in printed
    assert "called thanks, all good" in printed


def test_it_answers_by_name(run, folder, tmp_path):
    """Without the files of training, which are elsewhere, or gone."""
    predictor = TextPredictor(run[0])
    assert predictor.classes == LABELS
    session = Session(predictor)
    line = next(session.respond("it is cracked and with noise"))
    assert line.startswith("broken, ")
    file = tmp_path / "new.csv"
    file.write_text('review\n"my parcel, late"\nso great\n', encoding="utf-8")
    answers = [*session.respond(f"batch {file}")]
    assert [answer.split("  ")[0] for answer in answers[:2]] == ["2 days late", LABELS[2]]


def test_an_exported_model_has_its_labels(run):
    """A probability for each."""
    shape = exported(restored(run[0])).out_avals[0].shape
    assert shape[1] == len(LABELS)


def test_it_is_evaluated_on_another_file(run, folder, tmp_path):
    """With columns of its own; a label that the run does not know is refused with its line."""
    file = tmp_path / "other.csv"
    file.write_text("review,kind of mail\nall great,broken\ncracked,broken\n", encoding="utf-8")
    config, overrides = tiny_config(folder), {"data.eval_file": str(file)}
    found = tiny.evaluate(config, run[0], overrides)
    assert found["eval/texts"] == 2
    assert found["eval/by_class"]["broken"]["texts"] == 2
    assert "test/accuracy" not in found
    file.write_text("review,kind of mail\nall great,lost\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2: the label 'lost' is none of those of the run"):
        tiny.evaluate(config, run[0], overrides)
