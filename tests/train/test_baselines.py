"""Baselines in the harness: they train, are evaluated, drawn and exported as the
main model is."""

import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from configs import copy
from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.inference import export
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.nn.parameters import recorded
from mocanet_jax.nn.summary import state_size
from mocanet_jax.report import plot
from mocanet_jax.report.run import report
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.studies import variants
from mocanet_jax.tasks.languages.reverse_string import ReverseStringTask
from mocanet_jax.train import build, loop
from mocanet_jax.train.baselines import BAG_OF_WORDS, BASELINES
from mocanet_jax.train.optimizer import decay_mask
from mocanet_jax.train.restore import restored
from mocanet_jax.train.state import initial_params
from tests.train import tiny
from tests.train.text import tiny_text

TASK = ReverseStringTask(shortest=1, longest=4, first_longest=1)
TOKENS = jnp.zeros((1, 2), jnp.int32)
STEPS = 20
each = pytest.mark.parametrize("name", BASELINES)
one = pytest.mark.parametrize("run", ["transformer"], indirect=True)
"""What does not depend on which of them it is."""


def small(name):
    """A tiny config of the model, whose budget is far below its usage of everything."""
    training = {
        "max_steps": 40,
        "eval_every": STEPS,
        "save_every": STEPS,
        "stop_at_loss": 99.0,
    }
    settings = {f"train__{field}": value for field, value in training.items()}
    config = tiny.config(task="reverse_string", model__name=name, **settings)
    config.baseline[name].update(num_layers=1, width=16)
    config.baseline.deltanet.chunk_size = 4
    config.eval.lengths = ()
    config.eval.long_lengths = (8,) if name == "transformer" else ()
    return config


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name == "transformer" else pytest.mark.slow)
        for name in BASELINES
    ],
)
def run(request, tmp_path_factory):
    """(config, directory, what `train` returned) of each model's run. Not to be changed."""
    workdir, config = tmp_path_factory.mktemp(request.param) / "run", small(request.param)
    return config, workdir, tiny.train(config, workdir, tiny.console())


def test_it_learns(run):
    """The logged terms are those of every model, and there is nothing but the task in the
    loss."""
    rows = [row for row in read_metrics(run[1]) if "train/loss" in row]
    losses = [row["train/loss"] for row in rows]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:2])
    for row in rows:
        assert row["train/loss"] == row["train/task_loss"]


def test_a_budget_that_it_cannot_follow_does_not_hold_it_up(run):
    """All is computed for every token, which is reported; a run that stops at a loss of 99
    stops at its first validation, as if there were no target."""
    config, _, result = run
    assert config.model.budget.target < 1
    assert result["eval/usage"] == 1
    assert result["trained_steps"] == STEPS
    assert result["eval/flops_per_token"] == round(result["flops_per_token"])
    assert not any(name.startswith("eval/usage_") for name in result)
    assert result["eval/off_task_reads"] == result["eval/off_task_writes"] == 0


@one
def test_evaluation_finds_what_training_left(run):
    """On a length beyond those of training, 8 of at most 4, too."""
    config, workdir, result = run
    evaluated = tiny.evaluate(config, workdir, {})
    same = [name for name in result if name.startswith("eval/")]
    assert {name: evaluated[name] for name in same} == {name: result[name] for name in same}
    assert set(result["eval/accuracy_by_length"]) == {"8"}
    assert json.loads((workdir / "eval.json").read_text())["task"] == "reverse_string"


@one
def test_pictures_are_those_of_any_model(run, tmp_path):
    """There are no accesses and no spending to draw."""
    config, workdir, _ = run
    workdir = shutil.copytree(workdir, tmp_path / "run")
    report(loop.train(config, workdir), tiny.console())
    assert (workdir / "accuracy_by_length.png").exists()
    assert not list(workdir.glob("memory_layer_*"))
    out = tmp_path / "out"
    out.mkdir()
    plot.draw_run(workdir, out, [], tiny.console())
    assert [path.name for path in out.iterdir()] == ["curves.png"]


def test_an_exported_model_answers_as_the_live_one(run, tmp_path):
    """With more tokens than its state has room for in training."""
    export.export_run(run[1], tmp_path / "out")
    program = jax_export.deserialize((tmp_path / "out" / export.MODEL_FILE).read_bytes())
    live = restored(run[1])
    shape = (2, 33)
    tokens = np.random.default_rng(0).integers(TASK.vocab_size, size=shape, dtype=np.int32)
    mask = np.ones(shape, bool)
    mask[:, 3:5] = False
    expected = jax.jit(live.trained.apply, static_argnums=0)(live.model, tokens, mask=mask)[0]
    found = program.call(tokens, mask)["logits"]
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-5)


def test_a_study_of_parts_or_budgets_is_refused():
    """Its runs would all be of one model, under many names."""

    def load(flags):
        return tiny.config(model__name="lstm")

    refused = "config.model.name=lstm is a model without parts to remove; only"
    with pytest.raises(UserError, match=refused):
        variants.ablations(load, None, "copy.py", {}, ["control", "no_memory"])
    kept, _ = variants.ablations(load, None, "copy.py", {}, ["control"])
    assert [variant.name for variant in kept] == ["control"]
    with pytest.raises(UserError, match="lstm is a model without a budget"):
        variants.budgets(load, "copy.py", {}, [0.5], [1])


@each
def test_state_has_room_for_the_lengths_that_are_evaluated(name):
    """A length of 8 takes 17 steps. Only what a Transformer keeps grows with a sequence."""
    config = small(name)
    model = build.build_model(config, TASK)
    slots = SequenceEvaluator(model, TASK, config).enlarged_slots(8)
    assert slots == (17 if name == "transformer" else None)
    params = jax.eval_shape(model.init, jax.random.key(0), TOKENS)

    def shapes(slots):
        start = lambda params: model.apply(params, 2, slots, method="initial_state")
        return jax.tree.map(jnp.shape, jax.eval_shape(start, params))

    assert (shapes(slots) == shapes(None)) == (name != "transformer")


def test_a_delta_net_can_hold_as_many_numbers_as_the_memory():
    """64 slots of 128 in the configs' own sizes."""
    config = tiny.config(model__name="deltanet")
    model = build.build_model(config, TASK)
    assert model.spec.num_heads * model.spec.key_dim * model.spec.value_dim == 64 * 128


@each
def test_weight_decay_spares_scales_biases_and_rates(name):
    model = build.build_model(small(name), TASK)
    with recorded() as declarations:
        shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["params"]
    mask = decay_mask(shapes, declarations)
    for path, decays in jax.tree_util.tree_leaves_with_path(mask):
        matrix = path[-1].key in ("kernel", "embedding", "recurrent", "convolution")
        assert decays == matrix, path


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lstm", 2 * 256),  # hidden and cell, width
        ("transformer", 2 * 2 * 9 * 128),  # keys and values of 4 symbols, a marker, 4 blanks
        ("deltanet", 2 * (2 * 64 * 64 + 3 * 2 * (64 + 64 + 64))),  # H S P, and 3 tokens
    ],
)
def test_the_size_of_a_state_is_that_of_the_table(name, size):
    """docs/reference/baselines.md, at the defaults of configs. Otherwise a table of results
    compares models by a number that is none of theirs."""
    assert state_size(*shapes(copy.get_config(), name)) == size


def test_most_of_the_state_of_moca_is_its_memory():
    """64 slots of 128 numbers."""
    assert 64 * 128 < state_size(*shapes(copy.get_config(), "moca")) < 1.2 * 64 * 128


def shapes(config, name):
    """The model and the shapes of its parameters."""
    config.model.name = name
    model = build.build_model(config, TASK)
    return model, jax.eval_shape(partial(initial_params, model, TASK))


MISTAKES = {
    "an unknown model": (
        {"name": "gru"},
        "unknown model 'gru'; known models: moca, lstm, transformer, deltanet",
    ),
    "an lstm without layers": (
        {"name": "lstm", "num_layers": 0},
        "config.baseline.lstm: num_l",
    ),
    "heads that do not divide": (
        {"name": "transformer", "num_heads": 3},
        "config.baseline.transformer: width 128 is not divisible by twice 3 heads",
    ),
    "no heads": (
        {"name": "transformer", "num_heads": 0},
        "num_heads must be at least 1, not 0",
    ),
    "chunks of three": (
        {"name": "deltanet", "chunk_size": 3},
        "config.baseline.deltanet: chunk_size must be a power of two, not 3",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_reported_in_one_line(case):
    settings, message = MISTAKES[case]
    name, *sizes = settings
    config = tiny.config(model__name=settings[name])
    config.baseline.get(settings[name], {}).update({size: settings[size] for size in sizes})
    with pytest.raises(UserError, match=message) as raised:
        build.build_model(config, TASK)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [*BASELINES, BAG_OF_WORDS])
def test_texts_have_baselines_too(name, corpus, tmp_path):
    """With the sizes of their sections, and the words and shares of the classifier."""
    config = tiny_text.config(corpus, model__name=name, baseline__lstm__width=24)
    task = build.build_task(config, tmp_path)
    spec = build.build_model(config, task).spec
    assert spec.width == {"lstm": 24, "bow": config.model.width}.get(name, 128)
    assert (spec.num_classes, spec.vocab_size) == (2, task.vocab_size)
    assert (spec.max_pieces, spec.piece_dim, spec.dropout) == (6, 4, 0.1)


def test_a_bag_of_words_is_for_texts_alone():
    message = "unknown model 'bow'; known models: moca, lstm, transformer, deltanet$"
    with pytest.raises(UserError, match=message):
        build.build_model(tiny.config(model__name=BAG_OF_WORDS), TASK)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["transformer", BAG_OF_WORDS])
def test_a_baseline_of_texts_trains_and_answers(name, corpus, tmp_path):
    """Its files, evaluation, explanation and export are those of any classifier."""
    config = tiny_text.config(corpus, model__name=name, train__max_steps=2)
    result = tiny.train(config, tmp_path / "run")
    assert result["eval/usage"] == 1
    again = tiny.evaluate(config, tmp_path / "run", {})
    assert again["eval/accuracy"] == result["eval/accuracy"]
    predictor = TextPredictor(tmp_path / "run")
    explained = predictor.explain("a dull film")
    assert explained.influence.shape == (3,)
    assert explained.experts is explained.slots is None
    assert not explained.spending.total.any()
    assert export.exported(restored(tmp_path / "run")).out_avals[0].shape[1] == 2
