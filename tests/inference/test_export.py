"""An exported model answers as the live one does, without the package it was trained with."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.inference import export
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.runtime.sharding import one_device
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.train import build
from mocanet_jax.train.checkpoints.checkpoint import Progress
from mocanet_jax.train.config.settings import plain
from mocanet_jax.train.restore import Restored, restored
from mocanet_jax.train.state import initial_trained
from tests.train import tiny

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
EXPORT_PAGE, LAYER_PAGE, BUDGET_PAGE = (
    GUIDES / f"{name}.md" for name in ("export", "layer", "budget")
)
SHAPES = ((1, 1), (2, 9), (7, 33))
"""Batch and time. At a time of 1 the live model takes another path, that of streaming."""

TEXTS = ["A warm, funny film!", "dull", "it is NOT great, and the zorgy plot is tired..."]

ALONE = """
import sys
for package in ("mocanet_jax", "flax", "optax", "orbax", "ml_collections", "safetensors"):
    sys.modules[package] = None  # importing it fails
"""

ANSWER = """
found = np.load("../inputs.npz")
answers = {}
for i in range(len(found.files) // 2):
    outputs = model(found[f"tokens_{i}"], found[f"mask_{i}"])
    answers |= {f"{name}_{i}": array for name, array in outputs.items()}
np.savez("../answers.npz", **answers)
np.savez("../weights.npz", **weights)
"""


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def inputs(run):
    """[(tokens, mask)] of every shape, with padding anywhere but on the first step."""
    rng = np.random.default_rng(0)
    highest = run.task.num_pieces if isinstance(run.task, TextTask) else run.task.vocab_size
    found = []
    for batch, time in SHAPES:
        shape = (batch, time, *run.model.token_shape)
        tokens = rng.integers(highest, size=shape, dtype=np.int32)
        if tokens.ndim == 3:
            tokens[..., 0] %= run.task.vocab_size
        mask = rng.random((batch, time)) < 0.8
        mask[:, 0] = True
        found.append((tokens, mask))
    return found


def in_a_process_of_its_own(folder, batches, more=""):
    """What the README's Python makes of the batches: (outputs of each, weights)."""
    named = {"tokens": 0, "mask": 1}
    np.savez(
        folder.parent / "inputs.npz",
        **{f"{name}_{i}": b[k] for i, b in enumerate(batches) for name, k in named.items()},
    )
    script = "\n".join([ALONE, *python_blocks(folder / "README.md"), ANSWER, more])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=script,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder.parent / "answers.npz") as answers:
        outputs = [
            {name[: -len(f"_{i}")]: answers[name] for name in answers if name.endswith(f"_{i}")}
            for i in range(len(batches))
        ]
    with np.load(folder.parent / "weights.npz") as weights:
        return outputs, dict(weights)


def live_logits(run):
    return jax.jit(lambda tokens, mask: run.trained.apply(run.model, tokens, mask=mask)[0])


@pytest.fixture(scope="module")
def copy_model(finished, tmp_path_factory):
    """The export of a run of the copy task, as a machine with an accelerator would make it."""
    folder = tmp_path_factory.mktemp("export") / "copy_model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.jax, "default_backend", lambda: "gpu")
        export.export_run(finished[0], folder)
    return folder


@pytest.fixture(scope="module")
def text_model(finished_text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "text_model"
    export.export_run(finished_text[0], folder)
    return folder


def test_the_copy_model_answers_as_the_live_one(finished, copy_model):
    """Otherwise a user's model is another than the one that was evaluated."""
    run = restored(finished[0])
    batches, live = inputs(run), live_logits(run)
    outputs, weights = in_a_process_of_its_own(copy_model, batches)
    for batch, found in zip(batches, outputs, strict=True):
        assert found.keys() == {"logits"}
        assert found["logits"].dtype == np.float32
        np.testing.assert_allclose(found["logits"], live(*batch), rtol=0, atol=1e-6)
    same_as_params(weights, run.trained.params)


@pytest.mark.slow
def test_the_classifier_answers_as_the_live_one(finished_text, text_model):
    """Numbers for numbers, and from raw English to calibrated probabilities."""
    run = restored(finished_text[0])
    batches, live = inputs(run), live_logits(run)
    raw = f"np.save('../raw.npy', model(*batch({TEXTS!r}))['probabilities'])"
    outputs, weights = in_a_process_of_its_own(text_model, batches, raw)
    for batch, found in zip(batches, outputs, strict=True):
        assert found.keys() == {"logits", "probabilities"}
        mean = np.mean(live(*batch), axis=0)
        np.testing.assert_allclose(found["logits"], mean, rtol=0, atol=1e-6)
    predictor = TextPredictor(finished_text[0])
    expected = [predictor.predict(text).probabilities for text in TEXTS]
    found = np.load(text_model.parent / "raw.npy")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    same_as_params(weights, run.trained.params)


def same_as_params(weights, params):
    """Every parameter under its dotted path, and nothing else."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    assert len(weights) == len(leaves)
    for path, leaf in leaves:
        np.testing.assert_array_equal(weights[".".join(key.key for key in path)], leaf)


@pytest.mark.slow
def test_one_file_is_for_every_platform(copy_model, text_model):
    """Otherwise a model that was exported on a CPU cannot be served on an accelerator."""
    for folder in (copy_model, text_model):
        content = (folder / "model.stablehlo").read_bytes()
        found = jax.export.deserialize(bytearray(content))
        assert found.platforms == ("cpu", "cuda", "tpu")
        assert found.out_tree == jax.tree.structure(
            {"logits": 0} if folder == copy_model else {"logits": 0, "probabilities": 0}
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "ablation", ["no_memory", "no_controller", "no_location", "fixed_topk"]
)
def test_every_kind_of_model_can_be_exported(ablation):
    """A part that only works for a known batch or time would refuse its users late."""
    config = tiny.config(ablation)
    task = build.build_task(config, Path())
    model = build.build_model(config, task)
    trained, progress = initial_trained(model, task), Progress(plain(config), {}, 0, 0, 0, True)
    run = Restored(0, config, task, model, trained, progress, one_device())
    (out,) = export.exported(run).out_avals
    assert str(out.shape) == f"(batch, time, {task.vocab_size})"


@pytest.mark.slow
def test_what_is_beside_the_program_is_that_of_the_run(
    finished, finished_text, copy_model, text_model
):
    """Otherwise words get other numbers than in training, or the config is another run's."""
    for workdir, folder in ((finished[0], copy_model), (finished_text[0], text_model)):
        for name in ("config.json", "vocabulary.json"):
            assert (folder / name).exists() == (workdir / name).exists()
            if (folder / name).exists():
                assert json.loads((folder / name).read_text()) == json.loads(
                    (workdir / name).read_text()
                )
        assert "$" not in (folder / "README.md").read_text(encoding="utf-8")


def executed(page):
    """The names that a page's Python leaves."""
    names = {}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), names)
    return names


def test_the_page_of_exports_shows_python_that_runs(copy_model, monkeypatch):
    """A reader starts from copies of these lines."""
    monkeypatch.chdir(copy_model.parent)
    names = executed(EXPORT_PAGE)
    assert names["logits"].shape[:2] == names["tokens"].shape


@pytest.mark.integration
def test_the_page_of_the_layer_shows_python_that_does_what_it_says():
    names = executed(LAYER_PAGE)
    assert np.mean(names["losses"][-5:]) < 0.9 * np.mean(names["losses"][:5])
    assert names["difference"] < 1e-5
    for form, other in (("reads", "same_reads"), ("slots", "same_slots")):
        assert jnp.max(jnp.abs(names[form] - names[other])) < 1e-5


def test_the_page_of_the_budget_shows_python_that_runs():
    names = executed(BUDGET_PAGE)
    assert 0 <= names["usage"] <= 1
    assert names["lam"] >= 0
