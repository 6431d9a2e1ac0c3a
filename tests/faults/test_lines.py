"""What a command says when it stops is one line that can be acted on.

To add a case is to add a line to a table.
"""

import sys

import pytest

from tests.faults.commands import ends

REFUSED = [
    (["train", "a\nb"], "--config=a\\nb: no such file"),
    (["train", "\x1b[31mred"], "--config=\\x1b[31mred: no such file"),
    (["tr\nain"], "mocanet has no command 'tr\\nain'"),
    (["eval", "--workdir=no\r\nrun"], "no trained model in no\\r\\nrun"),
    (["chat", "a\u2028b"], "a\\u2028b"),
    (["generate", "x", "--length=99999999999999999999"], "--length must be in [0, 2^31)"),
    (["generate", "x", "--length=-1"], "--length must be in [0, 2^31), not -1"),
    (["generate", "x", "--seed=4294967296"], "--seed must be in [0, 2^32)"),
    (["generate", "x", "--temperature=nan"], "temperature must be at least 0, not nan"),
    (["generate", "x", "--top_k=-1"], "top_k must be in [0, 2^31), not -1"),
    (["generate", "x", "--top_k=99999999999999999999"], "top_k must be in [0, 2^31)"),
    (["generate", "x", "--top_p=inf"], "top_p must be in (0, 1], not inf"),
    (["ablate", "copy", "--config.train.max_minutes=1e999"], "train.max_minutes must be a fin"),
    (["ablate", "copy", "--seeds=99999999999999999999"], "an integer in the range [1, 10000]"),
    (["suite", "--tasks=copy", "--seeds=10001"], "an integer in the range [1, 10000]"),
    (["suite", "--tasks=copy", "--minutes=nan"], "max_minutes must be at least 0, not nan"),
    (["frontier", "copy", "--targets=nan"], "--targets takes shares in [0, 1], not [nan]"),
    (["inspect", "copy", "--config.eval.lengths=:"], "takes whole numbers from 1 on"),
    (["inspect", "text", "--config.data.path=/dev/zero"], "not a regular file"),
    (["quality", "x", "--sentences=/dev/zero"], "not a regular file"),
    (["train", "--flagfile=missing"], "--flagfile=missing: No such file or directory"),
    (["inspect", "copy", "--flagfile=/"], "--flagfile=/: Is a directory"),
    (["frontier", "copy", "--flagfile"], "--flagfile with no argument"),
    (["eval", "copy", f"--flagfile={sys.executable}"], "--flagfile: not UTF-8"),
    (["chat", "x", f"--flagfile={sys.executable}"], "--flagfile: not UTF-8"),
]
"""Words of a command, and a part of the line."""


CONFIGS = [
    (b"import sys; sys.exit(3)", 2, "error: --config=own.py: it ends the process with 3"),
    (b"raise KeyboardInterrupt", 130, "interrupted"),
    (b"def get_config(:", 2, "error: --config=own.py: invalid syntax (own.py, line 1)"),
    (b"\0", 2, "error: --config=own.py: source code string cannot contain null bytes"),
    (b"def get_config(): get_config()", 2, "error: --config=own.py: maximum recursion depth"),
    (b"def get_config(): pass", 2, "error: --config=own.py: get_config returned NoneType"),
    (b"x = 1", 2, "error: --config=own.py: module 'mocanet_config_own' has no attribute"),
]
"""Config files, the exit code, and how the line begins."""


def test_a_config_file_that_fails_is_told_in_one_line(tmp_path):
    """It is the user's own code; and Ctrl-C may come while it is read."""
    for number, (content, *_) in enumerate(CONFIGS):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "own.py").write_bytes(content)
    ended = ends([["train", "own.py"]] * len(CONFIGS), tmp_path)
    for end, (_, code, line) in zip(ended, CONFIGS, strict=True):
        assert end.code == code
        assert end.err.startswith(line)
        assert len(end.err.splitlines()) == 1
        assert "runs" not in end.left


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    commands = [words for words, _ in REFUSED]
    return ends(commands, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: ascii(REFUSED[n][0]))
def test_a_command_that_cannot_work_says_why_in_one_line(refused, number):
    """Names with line ends were two lines, of which a log keeps the first."""
    code, _, err, left = refused[number]
    assert (code, left) == (2, [])
    assert err.startswith("error: ")
    assert REFUSED[number][1] in err
    assert len(err.splitlines()) == 1
    assert err.removesuffix("\n").isprintable()


@pytest.mark.parametrize("streams", ["full output", "pipe nobody reads", "closed output"])
def test_help_outlives_its_output(tmp_path, streams):
    ended = ends(
        [["--version"], ["--help"], ["eval", "--help"], ["chat", "--helpshort"]],
        tmp_path,
        streams,
    )
    assert [end.code for end in ended] == [0, 0, 0, 0]
    assert all("Traceback" not in end.err for end in ended)


@pytest.mark.parametrize("columns", ["1", "0", "-3", "wide", "100000"])
def test_help_is_shown_in_any_width(tmp_path, monkeypatch, columns):
    """In one column the lines of flags were a traceback."""
    monkeypatch.setenv("COLUMNS", columns)
    ended = ends([["chat", "--help"], ["ablate", "--help"]], tmp_path)
    assert [(end.code, end.err) for end in ended] == [(0, "")] * 2
    assert "--seeds" in ended[1].out


def test_flags_set_fields_of_a_run_without_checkpoints(tmp_path):
    """config.json has lists where a config has tuples, which flags refused in a traceback."""
    workdir = tmp_path / "0" / "run"
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text(
        '{"model": {"name": "moca"}, "eval": {"lengths": [1]}}'
    )
    (end,) = ends([["eval", "run", "--workdir=run", "--config.eval.lengths=(2,)"]], tmp_path)
    assert end.code == 2
    assert end.err.startswith("error: ")
    assert len(end.err.splitlines()) == 1
