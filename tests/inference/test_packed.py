"""Packed models: two files that answer as the run does, and damage that is noticed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import mocanet_jax as moca
from mocanet_jax.inference.evaluation import evaluate
from mocanet_jax.inference.export import pack_run
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train.checkpoints import shipped
from mocanet_jax.train.checkpoints.workdir import read_config

TEXT = "a warm and funny film"


@pytest.fixture(scope="module")
def packed(finished_text, tmp_path_factory):
    """Of the run on texts. Not to be changed."""
    folder = tmp_path_factory.mktemp("pack") / "model"
    pack_run(finished_text[0], folder)
    return folder


def test_it_answers_as_the_run(finished_text, packed):
    """Within the rounding of half precision, 2⁻¹¹ of each parameter."""
    run, model = moca.load(finished_text[0]), moca.load(packed)
    assert model.step == run.step
    expected, found = run.predict(TEXT), model.predict(TEXT)
    assert found.words == expected.words
    assert found.known == expected.known
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
    assert float(model.multiplier) == float(run.multiplier)


def test_it_names_no_file_of_the_machine(finished_text, packed, corpus):
    """And the run keeps the path of its data."""
    assert str(corpus) not in (packed / "model.json").read_text(encoding="utf-8")
    assert moca.load(packed).config.data.path == ""
    assert moca.load(finished_text[0]).config.data.path == str(corpus)


def test_it_takes_two_bytes_a_parameter(packed):
    count = sum(array.size for array in _leaves(moca.load(packed).params))
    assert (packed / "params.safetensors").stat().st_size < 2 * count + 8192


def _leaves(tree):
    return [
        leaf for x in tree.values() for leaf in (_leaves(x) if isinstance(x, dict) else [x])
    ]


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (
            "params.safetensors",
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
            "is damaged: its SHA-256",
        ),
        ("model.json", lambda data: data[:40], "cannot be read, or is damaged"),
        (
            "model.json",
            lambda data: json.dumps(json.loads(data) | {"layout": 9}).encode(),
            "holds a model of layout 9",
        ),
    ],
)
def test_damage_is_noticed(packed, tmp_path, name, damage, told):
    """Other numbers would be answers of another model."""
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(UserError, match=told):
        moca.load(folder)


def test_it_is_evaluated_and_not_trained_on(packed, corpus, tmp_path):
    """A run in its folder would be hidden by it."""
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    config = ConfigDict(read_config(folder))
    config.data.path = str(corpus)
    with pytest.raises(UserError, match="packed model, which is not trained on; start from it"):
        moca.train(config, folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "model.json",
        "params.safetensors",
    ]
    result = evaluate(folder, None, {"data.path": str(corpus)})
    assert result.summary["evaluated_step"] == moca.load(packed).step


def test_another_step_is_refused(packed):
    with pytest.raises(UserError, match="has the model of step"):
        moca.load(packed, step=12345)


def test_a_run_is_preferred_to_a_model_of_its_name(tmp_path, monkeypatch, packed):
    """A shipped model in place of a run that is there would be another's answer."""
    monkeypatch.setattr(shipped, "FOLDER", packed.parent)
    monkeypatch.chdir(tmp_path)
    for name in (Path("model"), Path("runs/model")):
        assert shipped.place(name) == packed
    assert shipped.place(Path("other")) == Path("other")
    Path("runs/model").mkdir(parents=True)
    assert shipped.place(Path("runs/model")) == Path("runs/model")
