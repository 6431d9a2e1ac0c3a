"""Heads, experts and tasks of one's own, by `module:Class` in a config: no file of the package
is touched."""

import jax
import pytest

from mocanet_jax.inference import loaded
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import build
from tests.own.parts import Last, Sine
from tests.train import tiny

PARTS = "tests.own.parts"


STEPS = 2
BRIEF = {"train__max_steps": STEPS, "eval__lengths": (), "eval__long_lengths": ()}


def config(ablation=None, **changes):
    return tiny.config(ablation, **BRIEF | changes).unlock()


def test_a_head_of_ones_own_is_trained(tmp_path):
    """Its accesses are traced for pictures, and its state is carried."""
    own = config("no_memory", model__experts__count=0)
    own.model.memory.heads.mine = {"kind": f"{PARTS}:Last", "count": 1}
    result = tiny.train(own, tmp_path / "run")
    assert result["trained_steps"] == STEPS
    model = loaded.load(tmp_path / "run")
    assert [type(head) for head in model.model.layer.memory.heads] == [Last]
    tokens = jax.numpy.array([[3, 4, 5]])
    _, state, aux = model.apply(tokens)
    assert len(aux.layers[0].memory.traces) == len(state.layers[0].memory) == 1


def test_an_expert_of_ones_own_is_trained(tmp_path):
    own = config("no_memory", model__experts__kind=f"{PARTS}:Sine")
    tiny.train(own, tmp_path / "run")
    model = loaded.load(tmp_path / "run")
    assert isinstance(model.model.layer.experts.expert, Sine)
    each = model.params["layers_0"]["experts"]["each"]
    assert each["Dense_0"]["kernel"].shape[0] == 2


def test_a_task_of_ones_own_is_trained(tmp_path):
    """From the folder of the config file, or the current one."""
    own = config("no_memory", task=f"{PARTS}:EchoTask", model__experts__count=0)
    result = tiny.train(own, tmp_path / "run")
    assert result["task"] == f"{PARTS}:EchoTask"
    assert tiny.evaluate(None, tmp_path / "run", {})["eval/accuracy"] == result["eval/accuracy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "nowhere:Task"}, r"config.task=nowhere:Task: cannot import 'nowhere'"),
        ({"task": f"{PARTS}:Nothing"}, "has no 'Nothing'"),
        (
            {"task": f"{PARTS}:Sine"},
            "not a task, a class that extends",
        ),
        ({"task": "copi"}, "unknown task 'copi'; did you mean 'copy'"),
        ({"model__experts__kind": "none"}, "unknown kind 'none'; known: mlp, gated"),
        ({"model__experts__kind": "nowhere:Expert"}, "cannot import 'nowhere'"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(tmp_path, changes, message):
    own = config(**changes)
    built = lambda: build.build_model(own, build.build_task(own, tmp_path))
    with pytest.raises(UserError, match=message) as error:
        built()
    assert "\n" not in str(error.value)


def test_a_head_of_an_unknown_kind_is_refused(tmp_path):
    own = config()
    own.model.memory.heads.mine = {"count": 1}
    task = build.build_task(own, tmp_path)
    with pytest.raises(UserError, match="unknown kind 'mine'; known: ring, loop"):
        build.build_model(own, task)
