"""A first validation that takes the process with it, as when memory runs out, costs no step.

To add a case is to add a line to a table.
"""

import pytest

from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.runtime.storage.metrics_log import Recorder
from mocanet_jax.train import loop
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.run import Run
from tests.train import tiny
from tests.train.test_checkpoint import bits
from tests.train.test_loop import final_state, rows

ENDS = {
    "while it is computed": (SequenceEvaluator, "validate", {}),
    "before it is recorded": (Recorder, "write", {"train__eval_every": 2}),
    "before it is booked": (Run, "_reason", {"train__eval_every": 5, "train__save_every": 5}),
}
"""Where the process ends in its first validation: a method that is called there; and fields of
the config. Of the last a checkpoint is due, of the others none is."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


def ends_in_its_first_validation(monkeypatch, config, workdir, place):
    owner, name = place
    method = getattr(owner, name)

    def killed(*args):
        if name != "write" or args[2] == "eval":
            raise Killed
        return method(*args)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(Killed):
            loop.train(config, workdir)


SLOW = [pytest.param(place, marks=pytest.mark.slow) for place in list(ENDS)[1:]]


@pytest.mark.parametrize("place", ["while it is computed", *SLOW])
def test_steps_before_the_first_validation_are_kept(finished, tmp_path, monkeypatch, place):
    """And the run goes on, bit for bit, as if nothing had happened: the same rows, the same
    checkpoints to choose from."""
    *method, changes = ENDS[place]
    config, workdir, whole = tiny.config(**changes), tmp_path / "run", finished[0]
    if changes:
        whole = tmp_path / "whole"
        tiny.train(config, whole)
    ends_in_its_first_validation(monkeypatch, config, workdir, method)
    first = config.train.eval_every
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert (checkpoints.steps(), checkpoints.best_step()) == ([first], None)
        before = checkpoints.record(first)
    assert (before.loss, before.progress.validation) == (None, {})
    console = tiny.console()
    result = tiny.train(config, workdir, console)
    assert f"resuming at step {first}" in tiny.printed(console)
    assert rows(workdir) == rows(whole)
    ends = [final_state(folder, config) for folder in (workdir, whole)]
    assert bits(ends[0]) == bits(ends[1])
    with Checkpoints(workdir) as one, Checkpoints(whole) as other:
        assert (one.steps(), one.best_step()) == (other.steps(), other.best_step())
        assert result["evaluated_step"] == other.best_step()
