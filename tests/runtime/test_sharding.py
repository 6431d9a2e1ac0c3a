"""Devices: any mesh gives what one device gives, and sends no more than it has to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime import sharding
from mocanet_jax.runtime.errors import UserError
from tests.runtime.eight_devices import MESHES, STEPS
from tests.train import tiny

ROOT = Path(__file__).parent.parent.parent
NAMES = [f"{data}x{expert}" for data, expert in MESHES]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What eight_devices.py prints."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    program = [sys.executable, "-m", "tests.runtime.eight_devices"]
    done = subprocess.run(
        [*program, str(tmp_path_factory.mktemp("eight_devices"))],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_mesh_trains_as_one_device(results):
    """Otherwise results depend on the machine: another batch was drawn, or gradients were
    averaged over devices where they should be summed."""
    for name in NAMES:
        assert len(results[name]["losses"]) == STEPS
        np.testing.assert_allclose(results[name]["losses"], results["1"]["losses"], rtol=1e-5)
    assert np.std(results["1"]["losses"]) > 0.05, "nothing was learned that could differ"


@pytest.mark.slow
def test_every_mesh_evaluates_as_one_device(results):
    """Whether batches divide over the devices or not."""
    for name in NAMES:
        for metric, value in results["1"]["validation"].items():
            assert results[name]["validation"][metric] == pytest.approx(value, rel=1e-5), metric


@pytest.mark.slow
def test_a_step_sends_gradients_and_tokens_to_their_experts_alone(results):
    """Otherwise every device gets the whole batch somewhere, most of all inside the loop over
    time, and more devices are slower than one. Two all-to-alls are of the forward pass and two
    of the backward pass; without an axis of experts there are none."""
    assert results["1"]["collectives"] == {}
    assert set(results["8x1"]["collectives"]) == {"all-reduce"}
    for name in NAMES[1:]:
        assert set(results[name]["collectives"]) == {"all-reduce", "all-to-all"}
        assert results[name]["collectives"]["all-to-all"] == 4


@pytest.mark.slow
def test_batches_in_parts_train_as_on_one_device(results):
    """Otherwise a part is not what every device has of it."""
    one, eight = results["in_parts"]
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert not np.allclose(one, results["1"]["losses"], rtol=1e-5), (
        "noise of each part by itself"
    )


@pytest.mark.slow
def test_experts_in_groups_train_and_evaluate_as_on_one_device(results):
    """Whole groups on a device, and room that two sequences of one device share; nothing but
    gradients and tokens for experts is sent."""
    one, eight = results["in_groups"]
    np.testing.assert_allclose(eight["losses"], one["losses"], rtol=1e-5)
    assert not np.allclose(one["losses"], results["1"]["losses"], rtol=1e-5)
    for metric, value in one["validation"].items():
        assert eight["validation"][metric] == pytest.approx(value, rel=1e-5), metric
    assert set(eight["collectives"]) == {"all-reduce", "all-to-all"}
    assert eight["collectives"]["all-to-all"] == 4


@pytest.mark.slow
def test_each_device_holds_its_own_experts(results):
    """Of 8: parameters and both moments of the optimizer."""
    for (data, expert), name in zip(MESHES, NAMES, strict=True):
        assert results[name]["experts"] == [[data * expert, 8 // expert]] * 3


@pytest.mark.slow
def test_a_checkpoint_moves_to_other_devices(results):
    """Otherwise a run is bound to the machine that it was started on. Saved on 2 x 4."""
    assert results["moved"] == {"1": True, "2": True, "4": True}


def specs_of(tree, split_axis):
    shardings = sharding.one_device().shardings(tree, split_axis)
    return jax.tree.map(lambda x: tuple(x.spec), shardings)


def test_a_leaf_is_split_along_its_declared_axis():
    """By the path of the parameter, under whatever a training state puts it."""
    split = lambda path, ndim: ("experts", ndim - 2) if "experts" in path else None
    tree = {
        "experts": {"bias": jnp.zeros((2, 2)), "of_members": {"bias": jnp.zeros((2, 2, 2))}},
        "router": {"expert": {"bias": jnp.zeros(2)}},
        "bias": jnp.zeros(2),
    }
    assert specs_of(tree, split) == {
        "experts": {"bias": ("expert",), "of_members": {"bias": (None, "expert")}},
        "router": {"expert": {"bias": ()}},
        "bias": (),
    }
    assert specs_of([jnp.zeros(2)], split) == [()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 0}, "config.mesh.data must be at least 1, or -1, not 0"),
        ({"expert": -2}, "config.mesh.expert must be at least 1, or -1, not -2"),
        ({"expert": -1}, "config.mesh: only one of data and expert can be -1"),
        ({"data": 3}, "data=3 and expert=1 do not divide 1 device"),
        ({"expert": 2}, "data=-1 and expert=2 do not divide 1 device"),
    ],
)
def test_a_mesh_that_the_devices_do_not_fill_is_refused(changes, message):
    """Otherwise devices stand idle, or JAX's own error is shown."""
    config = tiny.config().unlock()
    config.mesh.update(changes)
    with pytest.raises(UserError) as error:
        sharding.build_layout(config)
    assert message in str(error.value)


def test_experts_that_do_not_divide_are_refused(monkeypatch):
    """Otherwise a device would hold a part of an expert."""
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    config = tiny.config(model__experts__count=6).unlock()
    config.mesh.update(data=1, expert=4)
    message = r"config.mesh.expert=4 does not divide config.model.experts.count=6"
    with pytest.raises(UserError, match=message):
        sharding.build_layout(config)


def test_a_batch_that_does_not_divide_is_refused():
    """Otherwise some devices wait for others at every step."""

    class Four(sharding.Layout):
        def __init__(self):
            self.mesh = jax.sharding.AbstractMesh((4, 1), ("data", "expert"))

    sharding.check_batch(Four(), tiny.config(train__batch_size=8).train)
    with pytest.raises(UserError, match=r"batch_size=6 does not divide over 4 devices; take"):
        sharding.check_batch(Four(), tiny.config(train__batch_size=6).train)
    parts = tiny.config(train__batch_size=12, train__accumulate_steps=2).train
    message = r"batch_size=12 does not divide over 4 devices times accumulate_steps=2; take a "
    with pytest.raises(UserError, match=message + "multiple of 8"):
        sharding.check_batch(Four(), parts)
