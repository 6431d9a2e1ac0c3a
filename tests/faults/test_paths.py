"""Every path that the file system allows works, or is refused before anything is trained.

To add a case is to add a line to a table.
"""

import os
import stat
from pathlib import Path

import jax
import pytest

from mocanet_jax.chat import Session
from mocanet_jax.report.terminal import say
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import Recorder, read_metrics
from mocanet_jax.runtime.storage.plain_paths import local_path
from mocanet_jax.train import loop
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints, saved_run
from tests.faults.commands import ends
from tests.train import tiny
from tests.train.test_checkpoint import bits, saved, state

NAMES = [
    "[old]",
    "[/old]",
    "[a-z]*",
    "a [b] c/[0-9]/run",
    "?",
    "with space",
    " leading and trailing ",
    "ünïcödé",
    "👎",
    "a\nb",
    "a\tb",
    "a\\b",
    "'quoted\"",
    "~",
    "%s%d",
    "a:b",
    "gs:",
    "#hash&=;|",
    "--workdir=x",
    "a/../b",
    "x" * 200,
    "/".join(["deep" * 10] * 15),
    os.fsdecode(b"latin-1 \xe9"),
    "\x1b[31mred",
    "\u202eleft",
]


def name_of(name):
    return ascii(name)[:30]


@pytest.mark.parametrize("name", NAMES, ids=name_of)
def test_what_is_saved_under_any_path_can_be_read(tmp_path, name):
    """Orbax takes brackets for a pattern: a run was saved and could never be read."""
    workdir = tmp_path / name
    workdir.mkdir(parents=True)
    saved(workdir, {1: 0.5})
    with saved_run(workdir) as checkpoints:
        assert checkpoints.steps() == [1]
        like = jax.eval_shape(lambda: state(0))
        assert bits(checkpoints.restore(1, like)) == bits(state(1))
    with Recorder(workdir, 0) as recorder:
        recorder.write(1, "eval", {"loss": 0.5})
    assert len(read_metrics(workdir)) == 1
    assert len([*Path(os.path.realpath(workdir)).glob("events.out.tfevents.*")]) == 1


@pytest.mark.parametrize("name", NAMES, ids=name_of)
def test_a_path_is_shown_as_it_is(name):
    """As rich's markup `[old]` vanished and `[/y]` was a traceback."""
    console = tiny.console()
    say(console, f"{name} is the place")
    shown = tiny.printed(console).encode("utf-8", "backslashreplace").decode()
    expected = name.encode("utf-8", "backslashreplace").decode()
    printable = lambda text: "".join(
        char for char in text if char.isprintable() and char != " "
    )
    assert printable(expected) in printable(shown)


def test_links_are_followed(tmp_path):
    real = saved(tmp_path / "real", {1: 0.5})
    (tmp_path / "link").symlink_to(real, target_is_directory=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "checkpoints").symlink_to(real / "checkpoints")
    for name in ("link", "linked"):
        with Checkpoints(tmp_path / name, read_only=True) as checkpoints:
            assert checkpoints.steps() == [1]


def a_file(path):
    path.touch()
    return path


def below_a_file(path):
    path.touch()
    return path / "run"


def a_loop_of_links(path):
    path.symlink_to(path)
    return path


def a_pipe(path):
    os.mkfifo(path)
    return path


def too_long(path):
    return path / ("x" * 300)


def far_too_long(path):
    return path / "/".join(["x" * 200] * 50)


def a_null(path):
    return path / "a\0b"


UNUSABLE = [a_file, below_a_file, a_loop_of_links, a_pipe, too_long, far_too_long, a_null]


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_path_that_cannot_be_a_directory_is_refused_before_training(tmp_path, make):
    workdir = make(tmp_path / "place")
    before = [(path, path.lstat().st_mode) for path in tmp_path.iterdir()]
    with pytest.raises(UserError) as error:
        loop.train(tiny.config(), workdir)
    assert len(str(error.value).splitlines()) == 1
    assert [(path, path.lstat().st_mode) for path in tmp_path.iterdir()] == before
    assert all(stat.S_ISREG(mode) or not stat.S_ISDIR(mode) for _, mode in before)


LOCAL = {
    "runs/copy": "runs/copy",
    "/a b/c": "/a b/c",
    "gs:/bucket": "gs:/bucket",
    "C:\\runs": "C:\\runs",
    "file:///tmp/a%20b": "/tmp/a b",
    "file://localhost/tmp/a": "/tmp/a",
    "FILE:///tmp/a": "/tmp/a",
    "a/b://c": "a/b:/c",
}


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_path_is_what_it_says(name):
    assert local_path(name) == Path(LOCAL[name])


REMOTE = ["gs://bucket/run", "s3://bucket", "hdfs://host/run", "http://x/y", "file://host/run",
          "GS://bucket", "abfss://a@b/c"]  # fmt: skip


@pytest.mark.parametrize("name", REMOTE)
def test_a_remote_directory_is_refused(name):
    """It made a local folder `gs:`, in which nobody looks for a run."""
    with pytest.raises(UserError, match="only local directories and files"):
        local_path(name)


REMOTE_FLAGS = [
    "train copy --workdir={}",
    "train {}",
    "train sst2 --config.data.path={}",
    "train language --config.data.path={}",
    "eval {}",
    "eval --workdir={}",
    "chat {}",
    "generate {}",
    "plot {}",
    "plot . --out={}",
    "export {} --out=x",
    "export x --out={}",
    "quality {}",
    "quality . --sentences={}",
    "inspect sst2 --config.data.path={}",
    "inspect {}",
    "ablate copy --out={}",
    "frontier copy --out={}",
    "suite --out={}",
    "suite --configs={}",
    "suite --report={}",
]


SCHEMES = ["s3://bucket/run", "http://host/run", "hdfs://host/run"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How each ends, by flags and URL."""
    cases = [(words, url) for words in REMOTE_FLAGS for url in SCHEMES]
    commands = [words.format(url).split() for words, url in cases]
    return dict(zip(cases, ends(commands, tmp_path_factory.mktemp("remote")), strict=True))


@pytest.mark.parametrize("words", REMOTE_FLAGS)
@pytest.mark.parametrize("url", SCHEMES)
def test_every_flag_of_a_path_refuses_remote_ones(ended, words, url):
    """In one line; with nothing written, which a folder `s3:` would be."""
    code, _, err, left = ended[words, url]
    assert (code, left) == (2, [])
    assert err.startswith("error: ")
    assert f"{url}: only local directories and files can be used" in err
    assert len(err.splitlines()) == 1


def test_a_batch_of_remote_texts_is_refused():
    (line,) = Session(None).respond("batch s3://bucket/texts")
    assert "s3://bucket/texts: only local directories and files can be used" in line
