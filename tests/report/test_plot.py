"""Pictures of runs: those that cannot be drawn are reported, and nothing else is written."""

import shutil
from types import SimpleNamespace

import pytest

from mocanet_jax import cli
from mocanet_jax import plot as entry
from mocanet_jax.report import curves, plot
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.tasks.text.labelled import labelled_texts
from mocanet_jax.train.config.settings import budget_target
from tests.processes import entry_point

PNG = b"\x89PNG\r\n\x1a\n"
OF_METRICS = ["curves.png", "expert_load.png"]


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the entry point; returns its exit code, stdout and stderr."""

    def run(*workdirs, out=None, text=None):
        given = SimpleNamespace(
            workdir=list(map(str, workdirs)), out=out and str(out), text=text
        )
        monkeypatch.setattr(entry.flags, "FLAGS", given)
        code = 0
        try:
            cli._guarded(entry.main)
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def sketched(monkeypatch):
    """Pictures are written as their first bytes, by far the quickest way to draw."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda self, path, **_: path.write_bytes(PNG)
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def metrics_only(source, folder):
    """What a run has before its first checkpoint."""
    folder.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(source / name, folder)
    return folder


def test_a_run_on_sequences(command, finished, tmp_path):
    code, printed, complaints = command(finished[0], out=tmp_path / "new" / "pictures")
    drawn = tmp_path / "new" / "pictures"
    assert (code, complaints) == (0, "")
    assert names(drawn) == [*OF_METRICS, "memory_layer_0.png", "spending.png"]
    assert all(path.read_bytes().startswith(PNG) for path in drawn.iterdir())
    assert all(name in printed for name in names(drawn))
    assert "left out" not in printed


def test_a_run_on_texts(monkeypatch, command, sketched, finished_text, tmp_path):
    """With the words of the texts that are given."""
    seen, draw = [], plot.text_pictures.spending
    monkeypatch.setattr(
        plot.text_pictures,
        "spending",
        lambda texts, *to: [seen.append(texts), draw(texts, *to)],
    )
    code, *_ = command(finished_text[0], out=tmp_path, text=["a dull film", "Not bad!"])
    assert code == 0
    assert names(tmp_path) == [*OF_METRICS, "spending.png"]
    assert [text.words for text in seen[0]] == [["a", "dull", "film"], ["not", "bad", "!"]]


@pytest.mark.parametrize("lengths", [(30, 4, 18, 19, 5, 6, 7, 8), (30, 40)])
def test_short_sentences_of_the_validation_set_are_drawn_if_no_text_is_given(lengths):
    """Or long ones, where all are."""
    texts = [" ".join(["film"] * length) for length in lengths]
    task = SimpleNamespace(evaluation_texts=labelled_texts(texts, [0] * len(texts)))
    drawn = [len(text.split()) for text in plot._sentences(task)]
    assert drawn == [length for length in (4, 18, 5, 6, 7, 30, 40) if length in lengths][:5]


def test_a_run_that_is_still_training(command, sketched, finished, tmp_path):
    """Half a line at the end of its metrics, and no checkpoint yet."""
    workdir = metrics_only(finished[0], tmp_path / "run")
    rows = read_metrics(workdir)
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "train/lo')
    assert read_metrics(workdir) == rows
    before = names(workdir)
    code, printed, complaints = command(workdir)
    assert (code, complaints) == (0, "")
    assert names(workdir) == sorted([*before, *OF_METRICS])
    assert "pictures of memory and spending are left out: no trained model in" in printed


def test_pictures_are_drawn_anew(command, sketched, finished, tmp_path):
    workdir = metrics_only(finished[0], tmp_path / "run")
    (workdir / "curves.png").write_bytes(b"old")
    command(workdir)
    assert (workdir / "curves.png").read_bytes() == PNG


def test_several_runs_are_compared_in_the_first(
    monkeypatch, command, finished, finished_text, tmp_path
):
    first = metrics_only(finished[0], tmp_path / "first")
    second = metrics_only(finished_text[0], tmp_path / "second")
    seen = []
    monkeypatch.setattr(curves, "comparison", lambda runs, path: seen.append((runs, path)))
    assert command(first, second)[0] == 0
    ((runs, path),) = seen
    assert path == first / "comparison.png"
    assert runs == {
        plot._name(first): (read_metrics(first), 0.5),
        plot._name(second): (read_metrics(second), 0.3),
    }
    assert all(
        name.endswith(path.name) for name, path in zip(runs, (first, second), strict=True)
    )


def test_a_comparison_leaves_the_runs_alone(command, finished, finished_text, tmp_path):
    before = names(finished[0]), names(finished_text[0])
    assert command(finished[0], finished_text[0], out=tmp_path)[0] == 0
    assert names(tmp_path) == ["comparison.png"]
    assert (names(finished[0]), names(finished_text[0])) == before


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ({"budget": {"routing": "dynamic", "target": 0.3}}, 0.3),
        ({"budget": {"routing": "dynamic", "target": 1.0}}, None),
        ({"budget": {"routing": "topk", "target": 0.3}}, None),
        ({"target_budget": 0.3}, None),
        ({"name": "lstm", "budget": {"routing": "dynamic", "target": 0.3}}, None),
    ],
    ids=[
        "held to it",
        "everything is allowed",
        "fixed routing",
        "an older config",
        "a model without a choice",
    ],
)
def test_a_target_is_drawn_where_it_can_bind(model, target):
    assert budget_target({"model": model}) == target


MISTAKES = {
    "no run": ([], {}, "no run given; pass one, for example --workdir=runs/copy"),
    "no folder": (["none"], {}, "there is no run in none: train first"),
    "a file": (["file"], {}, "there is no run in file: train first"),
    "an empty folder": (["empty"], {}, "no metrics in empty yet: nothing to draw"),
    "one of two": (["metrics", "none"], {}, "there is no run in none: train first"),
    "no text run": (["copy"], {"text": ["fine"]}, "copy holds a copy run, not a classifier"),
    "no checkpoint": (["metrics"], {"text": ["fine"]}, "no trained model in metrics"),
    "texts of two": (["copy", "text"], {"text": ["fine"]}, "--text is for one text classifier"),
    "no word": (["text"], {"text": ["fine", " "]}, "--text=' ' has no word in it"),
    "many texts": (["text"], {"text": ["fine"] * 9}, "--text can be given 8 times, not 9"),
    "no room": (["metrics"], {"out": "file"}, "cannot write into file: Not a directory"),
}


@pytest.fixture(scope="session")
def runs(finished, finished_text, tmp_path_factory):
    """A folder with a run of each kind, and what is none."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "copy").symlink_to(finished[0])
    (folder / "text").symlink_to(finished_text[0])
    metrics_only(finished[0], folder / "metrics")
    (folder / "empty").mkdir()
    (folder / "file").write_text("mine")
    return folder


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_line(command, sketched, runs, monkeypatch, name):
    """And nothing is drawn, so that no half of the request is left."""
    workdirs, given, message = MISTAKES[name]
    monkeypatch.chdir(runs)
    before = sorted(runs.glob("*/*")), (runs / "file").read_text()
    code, printed, complaints = command(*workdirs, **given)
    assert (code, printed) == (2, "")
    assert complaints.startswith(f"error: {message}")
    assert len(complaints.splitlines()) == 1
    assert (sorted(runs.glob("*/*")), (runs / "file").read_text()) == before


def test_flags_reach_the_command(tmp_path):
    """The real thing, where it fails before anything is loaded."""
    code, _, err = entry_point("plot", "--text=a", "--text=b", "--out=x", cwd=tmp_path)
    assert code == 2
    assert err.startswith("error: no run given; pass one")
    assert not list(tmp_path.iterdir())
