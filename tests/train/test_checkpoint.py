"""Checkpoints: what is restored is what was saved, and the right ones are kept."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints, Progress, saved_run
from mocanet_jax.train.checkpoints.workdir import differing_fields, read_config
from mocanet_jax.train.curriculum import CurriculumState
from mocanet_jax.train.state import TrainState

OPTIMIZER = optax.adamw(0.1)


def state(step, averaged=False):
    """A small state whose every number depends on the step, with values that a conversion
    to text or another dtype would change."""
    rng = np.random.default_rng(step)
    params = {
        "layer": {"kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)},
        "edge": jnp.array([np.nan, np.inf, -0.0, 1e-40, 1 / 3], jnp.float32),
    }
    moments = jax.tree.map(lambda x: x + step, OPTIMIZER.init(params))
    average = jax.tree.map(lambda x: 0.75 * x + 1e-3, params) if averaged else None
    curriculum = CurriculumState(
        *map(jnp.float32, (step / 7, 0.1, 0.2)), jnp.int32(step), jnp.int32(1)
    )
    multiplier = jnp.float32(step / 3)
    return TrainState(
        jnp.int32(step), params, multiplier, moments, curriculum, average, jnp.int32(step + 1)
    )


def progress(**changes):
    fields = {
        "config": {"seed": 3, "own": {"lengths": [10, 20]}, "name": "a", "share": 0.1},
        "validation": {"loss": 0.1 + 0.2, "accuracy": 1 / 3},
        "wall_seconds": 1 / 3,
        "train_seconds": 0.2,
        "tokens": 1e9 + 1,
        "finished": False,
    }
    return Progress(**fields | changes)


def saved(workdir, losses, averaged=False):
    """A directory with a checkpoint at each step; step → loss of its validation."""
    with Checkpoints(workdir) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(state(step, averaged), progress(), loss)
    return workdir


def kept(workdir):
    return {int(path.name) for path in (workdir / "checkpoints").iterdir()}


def bits(tree):
    return [(x.dtype, np.asarray(x).tobytes()) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("averaged", [False, True])
def test_a_state_comes_back_bit_for_bit(tmp_path, averaged):
    """Otherwise a resumed run is another run."""
    expected = state(4, averaged)
    saved(tmp_path, {4: 0.5}, averaged)
    like = jax.eval_shape(lambda: state(0, averaged))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(4, like)
        trained = checkpoints.restore_trained(4, like.trained)
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    assert bits(restored) == bits(expected)
    assert bits(trained) == bits(expected.trained)
    assert not averaged or bits(trained.params) != bits(expected.params)


def test_progress_comes_back_as_it_was(tmp_path):
    """Otherwise times and the config that evaluation builds its model from are wrong."""
    expected = progress(finished=True)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(2), expected, loss=0.1)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.progress(2) == expected


def test_the_latest_and_the_best_are_kept(tmp_path):
    """Otherwise a run cannot go on, or its best parameters are lost."""
    saved(tmp_path, {1: 0.8, 2: 0.1, 3: 0.7, 4: 0.6})
    assert kept(tmp_path) == {2, 4}
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.best_step(), checkpoints.latest_step()) == (2, 4)


def test_the_newest_of_equally_good_ones_is_the_best(tmp_path):
    """Otherwise a run without loss reports parameters from before it settled."""
    saved(tmp_path, {1: 0.5, 2: 0.0, 3: 0.0, 4: 0.1})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() == 3
    assert kept(tmp_path) == {3, 4}


def test_an_empty_directory_has_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None


def test_a_step_that_is_not_saved_is_an_error(tmp_path):
    """Orbax answers a step that is not newer with False, which would pass unseen."""
    saved(tmp_path, {4: 0.5})
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(RuntimeError, match="refused to save step 3"),
    ):
        checkpoints.save(state(3), progress(), loss=0.4)


def test_a_step_that_is_not_there_is_reported(tmp_path):
    """Otherwise a mistyped step shows as a traceback out of Orbax."""
    saved(tmp_path, {4: 0.5})
    with (
        Checkpoints(tmp_path, read_only=True) as checkpoints,
        pytest.raises(UserError, match=r"checkpoints has no checkpoint of step 3; there: 4$"),
    ):
        checkpoints.progress(3)


def test_a_checkpoint_of_another_model_is_reported(tmp_path):
    """Otherwise a model answers with parameters that are not its own, or with a traceback."""
    saved(tmp_path, {4: 0.5})
    like = jax.eval_shape(lambda: state(0)).trained
    like.params["other"] = like.params.pop("layer")
    with (
        Checkpoints(tmp_path, read_only=True) as checkpoints,
        pytest.raises(UserError, match=r"checkpoint 4 in .* of another version of the model: "),
    ):
        checkpoints.restore_trained(4, like)


LIKE = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints

like = {f"w{i}": jax.ShapeDtypeStruct((100, 64), jnp.float32) for i in range(40)}
try:
    with Checkpoints(Path(sys.argv[1]), read_only=True) as checkpoints:
        checkpoints.restore_trained(1, Trained(like, jax.ShapeDtypeStruct((), jnp.float32)))
except UserError as error:
    print(error, file=sys.stderr)
"""


@pytest.mark.integration
def test_arrays_that_do_not_fit_are_reported_in_one_line(tmp_path):
    """Otherwise the line is lost among what Orbax prints of reads that nobody waits for. That
    is printed by other threads and at the end, and so looked for in a process."""
    rng = np.random.default_rng(0)
    params = {f"w{i}": jnp.asarray(rng.normal(size=(100, 100)), jnp.float32) for i in range(40)}
    arrays = state(1)._replace(params=params, opt_state={})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(arrays, progress(), 0.5)
    done = subprocess.run(
        [sys.executable, "-c", LIKE, tmp_path], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING:absl")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"checkpoint 1 in {tmp_path}/checkpoints is of another version")
    assert "(100, 64) is not compatible with the stored shape: (100, 100)" in lines[0]


def test_reading_leaves_the_directory_as_it_is(tmp_path):
    """Otherwise a chat deletes what a training run beside it is about to finish writing."""
    saved(tmp_path, {2: 0.4, 4: 0.5})
    (tmp_path / "config.json").write_text("{}")
    unfinished = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    (unfinished / "params").mkdir(parents=True)
    assert ocp.utils.is_tmp_checkpoint(unfinished)
    before = {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with saved_run(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 4]
        assert (checkpoints.best_step(), checkpoints.latest_step()) == (2, 4)
        checkpoints.restore_trained(2, jax.eval_shape(lambda: state(0)).trained)
    assert {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), "no trained model in .*/run: train first"),
        (("run",), "no trained model in .*/run: train first"),
        (("run", "run/config.json"), "no trained model in .*/run: train first"),
        (("run", "run/config.json", "run/checkpoints"), "no checkpoint is there yet; train on"),
    ],
    ids=["no folder", "an empty folder", "no checkpoints folder", "no checkpoint"],
)
def test_a_directory_without_a_saved_run_is_reported_and_left_alone(tmp_path, made, message):
    """Otherwise a mistyped folder is made, or fails far away."""
    for name in made:
        path = tmp_path / name
        path.write_text("{}") if path.suffix else path.mkdir()
    with pytest.raises(UserError, match=message):
        saved_run(tmp_path / "run")
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert there == set(made)


def test_differences_name_field_and_both_values():
    old = {"a": 1, "model": {"heads": 2, "slots": 64}, "gone": True}
    new = {"a": 1, "model": {"heads": 3, "slots": 64}, "seed": 7}
    assert differing_fields(old, new) == [
        "gone (True there, absent now)",
        "model.heads (2 there, 3 now)",
        "seed (absent there, 7 now)",
    ]
    assert differing_fields(old, old) == []


def test_a_config_that_cannot_be_read_is_reported(tmp_path):
    assert read_config(tmp_path) is None
    (tmp_path / "config.json").write_text('{"seed": 1')
    with pytest.raises(
        UserError, match=r"config\.json is not the config of a run; use another"
    ):
        read_config(tmp_path)
