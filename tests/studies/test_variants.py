"""Which runs a study consists of."""

from functools import partial

import jax
import pytest
from ml_collections import ConfigDict

from configs import copy
from mocanet_jax import ablate, cli
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.studies import variants
from mocanet_jax.train import build
from mocanet_jax.train import config as train_config
from mocanet_jax.train.config.settings import field, plain
from mocanet_jax.train.state import initial_params
from tests.cli.test_cli import ROOT
from tests.train import tiny
from tests.train.text import tiny_text

COPY, TEXTS = (str(ROOT / "configs" / name) for name in ("copy.py", "sst2.py"))
ablations = partial(variants.ablations, cli.config_of, train_config.with_ablations)
budgets = partial(variants.budgets, cli.config_of)


def test_every_ablation_belongs_to_the_study():
    """Otherwise one is added and never measured."""
    assert set(ablate.NAMES) == {variants.CONTROL, *train_config.ABLATIONS}


def test_variants_are_given_by_flags():
    """A run that is given by hand with the same flags has the config of the study."""
    (control, experts), equal = ablations(COPY, {}, ["control", "no_experts"])
    assert equal == []
    assert control.flags == (f"--config={COPY}",)
    assert experts.flags == (f"--config={COPY}:no_experts",)
    assert control.config == plain(copy.get_config())
    assert experts.config == plain(copy.get_config("no_experts"))


def test_what_equals_the_control_is_left_out():
    """Texts have no pointer heads, and a flag can make any ablation void."""
    kept, equal = ablations(TEXTS, {"model.memory.heads.content.count": 0}, ablate.NAMES)
    assert equal == ["no_memory", "no_location"]
    assert [variant.name for variant in kept] == [
        name for name in ablate.NAMES if name not in equal
    ]


@pytest.mark.parametrize(
    ("name", "path", "value", "kept"),
    [
        ("no_memory", "experts.count", 8, 8),
        ("no_memory", "memory.heads.content.count", 1, 0),
        ("no_budget", "budget.target", 0.3, 1.0),
        ("smaller_model", "width", 64, 32),
        ("dense_routing", "experts.top_k", 2, 4),
    ],
)
def test_an_ablation_stands_against_flags(name, path, value, kept):
    """Otherwise a flag undoes it, and the table compares the control with itself."""
    (variant,), _ = ablations(COPY, {f"model.{path}": value}, [name])
    assert field(variant.config["model"], path) == kept
    assert plain(cli.config_of(list(variant.flags))) == variant.config


def test_dense_routing_uses_the_experts_of_a_flag():
    (variant,), _ = ablations(COPY, {"model.experts.count": 8}, ["dense_routing"])
    assert variant.config["model"]["experts"]["top_k"] == 8


def test_flags_of_any_type_arrive():
    overrides = {"eval.lengths": (7,), "train.learning_rate": 1e-4, "task": "a b"}
    (variant,), _ = ablations(COPY, overrides, ["control"])
    assert variant.config["eval"]["lengths"] == (7,)
    assert variant.config["train"]["learning_rate"] == 1e-4
    assert variant.config["task"] == "a b"


def test_another_ablation_of_the_same_name_is_refused():
    """Otherwise docs and tables describe other runs."""

    def load(arguments):
        parts = {"memory": {"heads": {"ring": {"count": 1}}}, "cache": {}}
        return ConfigDict({"model": parts})

    with pytest.raises(UserError, match=r"mine.py:no_memory is not the ablation"):
        variants.ablations(load, train_config.with_ablations, "mine.py", {}, ["no_memory"])


def test_budgets_of_both_kinds():
    found = budgets(COPY, {"model.experts.count": 8}, [0.5, 0.1, 0.5], [2, 1])
    assert [variant.name for variant in found] == [
        "dynamic_0.1",
        "dynamic_0.5",
        "topk_0",
        "topk_1",
        "topk_2",
    ]
    models = [variant.config["model"] for variant in found]
    assert [m["budget"]["routing"] for m in models] == ["dynamic"] * 2 + ["topk"] * 3
    assert [m["budget"]["target"] for m in models] == [0.1, 0.5, 1.0, 1.0, 1.0]
    assert [m["experts"]["count"] for m in models] == [8, 8, 0, 8, 8]
    assert [m["experts"]["top_k"] for m in models] == [2, 2, 1, 1, 2]
    assert found[0].settings == {"routing": "dynamic", "target_budget": 0.1}
    assert found[4].settings == {"routing": "topk", "top_k_experts": 2}


def test_controls_spend_what_the_targets_allow():
    """Of 4 experts of 128 hidden units a target of 0.25 is one of 128, or each by chance."""
    found = budgets(COPY, {}, [0.25, 0.5], [1], ["smaller", "random"])
    assert [variant.name for variant in found][2:4] == ["random_0.25", "random_0.5"]
    assert [variant.name for variant in found][-2:] == ["smaller_0.25", "smaller_0.5"]
    models = [variant.config["model"] for variant in found]
    assert models[3]["budget"]["routing"] == "random"
    assert models[3]["budget"]["target"] == 0.5
    smaller = [models[place]["experts"] for place in (-2, -1)]
    whole = cli.config_of([f"--config={COPY}"]).model.experts
    total = whole.count * whole.hidden_dim
    assert [(e["count"], e["hidden_dim"]) for e in smaller] == [
        (1, total // 4),
        (1, total // 2),
    ]
    with pytest.raises(UserError, match=r"controls are random and smaller, not larger"):
        budgets(COPY, {}, [0.5], [1], ["larger"])


def test_a_ceiling_can_be_set_and_what_is_varied_cannot():
    dynamic, *_ = budgets(COPY, {"model.experts.top_k": 3}, [0.5], [1])
    assert dynamic.config["model"]["experts"]["top_k"] == 3
    with pytest.raises(UserError, match=r"model\.budget\.target is what the study varies"):
        budgets(COPY, {"model.budget.target": 0.5}, [0.5], [1])


@pytest.mark.parametrize("name", train_config.ABLATIONS)
@pytest.mark.parametrize("task", ["copy", "sst2"])
def test_every_ablation_builds_a_model(name, task, corpus, tmp_path):
    """Shapes only. The tiny configs set fields of their own, so the ablation comes last, as
    in configs."""
    config = tiny.config() if task == "copy" else tiny_text.config(corpus)
    control, config = plain(config), train_config.with_ablations(config, name)
    assert (plain(config) == control) == ((task, name) == ("sst2", "no_location"))
    built = build.build_task(config, tmp_path)
    model = build.build_model(config, built)
    params = jax.eval_shape(partial(initial_params, model, built))
    names = {part.key for path, _ in jax.tree.leaves_with_path(params) for part in path}
    absent = {"no_memory": "memory", "no_experts": "experts", "no_controller": "controller"}
    for ablation, part in absent.items():
        assert (part in names) == (name != ablation), part
    if name == "no_location":
        assert "content_head" in names
        assert "ring_head" not in names
