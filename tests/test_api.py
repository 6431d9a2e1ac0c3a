"""`import mocanet_jax as moca`: what it gives, and what it does not import."""

import jax
import jax.numpy as jnp
import pytest

import mocanet_jax as moca
from mocanet_jax.runtime.errors import UserError
from tests.processes import python
from tests.train import tiny


@pytest.mark.parametrize("name", moca.__all__)
def test_every_public_name_is_there(name):
    assert getattr(moca, name) is not None
    assert name in dir(moca)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Mamba'"):
        _ = moca.Mamba


def test_the_import_alone_imports_no_library_and_training_no_plots(tmp_path):
    """Otherwise a script that looks at a version waits for seconds. The functions train and
    export have the names of modules: whatever is imported first, they can be called."""
    done = python(
        "-c",
        "import sys, mocanet_jax as moca\n"
        "heavy = {'jax', 'flax', 'matplotlib', 'orbax', 'tensorboardX', 'scipy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "import mocanet_jax.train.loop, mocanet_jax.export\n"
        "assert callable(moca.train) and callable(moca.export) and moca.train.loop\n"
        "assert not {'matplotlib', 'tensorflow', 'torch'} & sys.modules.keys()\n",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_a_layer_in_five_lines():
    """As the README shows it."""
    layer = moca.MocaLayer(moca.LayerConfig(width=16, experts=None))
    x = jnp.ones((2, 5, 16))
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    y, state, aux = jax.jit(layer.apply)(variables, x)
    y, state, aux = jax.jit(layer.apply)(variables, x, None, state)
    assert y.shape == x.shape
    penalty = moca.budget.penalty(aux, 1.0, layer.config.budget)
    multiplier = moca.budget.update(jnp.float32(1), aux.usage, moca.BudgetConfig(target=0.01))
    assert penalty > 0
    assert multiplier > 1


def test_training_and_loading_from_python(tmp_path, capsys):
    """Nothing is printed; a loaded model answers as the run's evaluation did."""
    changes = {"train__max_steps": 2, "eval__lengths": (), "eval__long_lengths": ()}
    config = tiny.config("no_memory", model__experts__count=0, **changes)
    result = moca.train(config, str(tmp_path / "run"))
    assert capsys.readouterr().out == ""
    model = moca.load(tmp_path / "run")
    assert model.step == result.summary["evaluated_step"]
    tokens = jnp.array([[3, 4, 5, 6]])
    whole, _, _ = model.apply(tokens)
    _, state, _ = model.apply(tokens[:, :2])
    rest, _, _ = model.apply(tokens[:, 2:], state)
    assert jnp.allclose(whole[:, 2:], rest, atol=1e-5)
    with pytest.raises(UserError, match="holds a copy run, not a classifier"):
        model.predict("a film")


def test_a_loaded_classifier_predicts(finished_text):
    prediction = moca.load(finished_text[0]).predict("a warm film")
    assert prediction.words == ["a", "warm", "film"]
    assert prediction.probabilities.sum() == pytest.approx(1)
