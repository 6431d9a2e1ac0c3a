"""Storage at its limits: one line with the step and the place, and what was saved stays.

The limit of the size of files stands for a full disk; both fail in the same calls.
"""

import resource
import shutil
from contextlib import contextmanager

import pytest

from mocanet_jax.inference import export
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import Recorder, read_metrics
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.checkpoints.inspection import inspected
from tests.train import tiny
from tests.train.test_checkpoint import progress, saved, state


@contextmanager
def files_end_at(size):
    """No file can become larger, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 10, 50, 200, 400])
def test_metrics_that_cannot_be_written_name_step_and_place(tmp_path, room):
    """TensorBoard's own writer dies in a thread of its own, with a traceback, and what is
    written after waits for it for ever."""
    with Recorder(tmp_path, 0) as recorder:
        recorder.write(1, "train", {"loss": 1.0})
    before = read_metrics(tmp_path)

    def record():
        with files_end_at(room), Recorder(tmp_path, 1) as recorder:
            for step in range(2, 100):
                recorder.write(step, "eval", {"loss": 1.0})

    with pytest.raises(UserError) as error:
        record()
    assert str(tmp_path) in str(error.value)
    assert "File too large" in str(error.value)
    assert read_metrics(tmp_path)[:1] == before


@pytest.mark.parametrize("room", [0, 1, 100, 1000])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, room):
    """And the message names the step to go on from."""
    workdir = saved(tmp_path / "run", {1: 0.5})
    with Checkpoints(workdir) as checkpoints, files_end_at(room):
        message = f"cannot save step 2 in {workdir}.*; step 1 is the last that is there"
        with pytest.raises(UserError, match=message) as error:
            checkpoints.save(state(2), progress(), 0.1)
        assert "\n" not in str(error.value)
    assert inspected(workdir).sound == [1]


@pytest.mark.integration
def test_a_result_that_cannot_be_written_is_reported_with_its_step(finished, tmp_path):
    """Else a run that is whole looks as if it had failed."""
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    message = r"step \d is evaluated, but .*eval\.json cannot be written"
    with files_end_at(10), pytest.raises(UserError, match=message):
        tiny.evaluate(tiny.config(), workdir, {})


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Error writing persistent compilation cache")
def test_an_export_that_cannot_be_written_leaves_nothing(finished, tmp_path):
    with files_end_at(100), pytest.raises(UserError, match="out cannot be written: File too"):
        export.export(finished[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
