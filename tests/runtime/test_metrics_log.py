"""The record of a run survives being killed and goes on without a gap or a double row."""

import json
import math

import pytest

from mocanet_jax.runtime.storage.metrics_log import Recorder, read_metrics


@pytest.fixture
def recorded(tmp_path):
    """A directory with rows of steps 1 to 4, two groups at step 2."""
    with Recorder(tmp_path, 0) as recorder:
        for step in range(1, 5):
            recorder.write(step, "train", {"loss": 1 / step, "accuracy": 0.1 * step})
            if step == 2:
                recorder.write(step, "eval", {"accuracy": 0.25})
    return tmp_path


def test_rows_come_back_with_group_and_step(recorded):
    rows = read_metrics(recorded)
    assert rows[1] == {"step": 2, "train/loss": 0.5, "train/accuracy": 0.2}
    assert rows[2] == {"step": 2, "eval/accuracy": 0.25}
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 4]


def test_a_fresh_directory_has_no_rows(tmp_path):
    assert read_metrics(tmp_path) == []


def test_rows_are_on_disk_before_the_recorder_is_closed(tmp_path):
    """Otherwise a killed run has no record of what led there."""
    with Recorder(tmp_path, 0) as recorder:
        recorder.write(1, "train", {"loss": 2.0})
        assert read_metrics(tmp_path) == [{"step": 1, "train/loss": 2.0}]


def test_half_a_line_after_a_kill_is_dropped(recorded):
    """Otherwise a killed run can neither be drawn nor resumed."""
    path = recorded / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    assert [row["step"] for row in read_metrics(recorded)] == [1, 2, 2, 3]
    with Recorder(recorded, 3) as recorder:
        recorder.write(4, "train", {"loss": 0.25})
    lines = path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 2, 3, 4]


DAMAGED = [
    b"\xff\xfe\x00",
    b"\x00" * 40,
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"step"',
    b"{}",
    b'{"step": "2"}',
    b'{"step": 2, "train/loss": "low"}',
    b'{"step": 2, "train/loss": null}',
    b'{"step": true}',
    b'{"step": 2}{"step": 3}',
    b"[" * 100_000,
    b"\r",
    b'{"step": 2, "train/\xff": 1}',
]


@pytest.mark.parametrize("line", DAMAGED, ids=lambda line: repr(line[:20]))
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_damaged_line_takes_no_other_with_it(recorded, line, place):
    """A damaged sector must cost one row of the record, not the rest of it, nor the run."""
    path = recorded / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:place], line, *lines[place:]]))
    assert [row["step"] for row in read_metrics(recorded)] == [1, 2, 2, 3, 4]


def test_rows_after_the_resumed_step_are_dropped(recorded):
    """Otherwise steps that are trained again appear twice."""
    with Recorder(recorded, 2) as recorder:
        assert [row["step"] for row in read_metrics(recorded)] == [1, 2, 2]
        recorder.write(3, "train", {"loss": 9.0})
    assert read_metrics(recorded)[-1] == {"step": 3, "train/loss": 9.0}
    assert len(read_metrics(recorded)) == 4


def test_values_keep_every_bit(tmp_path):
    """Otherwise a record cannot show that two runs are equal."""
    values = {"a": 0.1, "b": 1 / 3, "c": 1e-300, "d": math.pi * 1e22}
    with Recorder(tmp_path, 0) as recorder:
        recorder.write(1, "train", values)
    with Recorder(tmp_path, 1):
        pass
    (row,) = read_metrics(tmp_path)
    assert row == {"step": 1} | {f"train/{name}": value for name, value in values.items()}


def test_tensorboard_events_are_written(recorded):
    (events,) = recorded.glob("events.out.tfevents.*")
    data = events.read_bytes()
    assert b"train/loss" in data
    assert b"eval/accuracy" in data
