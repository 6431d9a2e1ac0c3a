"""What an ablation changes in a config, and what it leaves."""

import pytest

from configs import copy, sst2
from mocanet_jax.train.config import ABLATIONS
from mocanet_jax.train.config.settings import field, plain

WITHOUT_BUDGET = {"budget.target": 1.0, "budget.base_cost": 0.0}
NO_HEADS = {f"memory.heads.{kind}.count": 0 for kind in ("ring", "content")}
CHANGES = {
    None: {},
    "no_memory": NO_HEADS,
    "no_experts": {"experts.count": 0, "budget.target": 1.0},
    "no_controller": {"controller.enabled": False},
    "no_location": {"memory.heads.ring.count": 0, "memory.heads.content.count": 1},
    "no_budget": WITHOUT_BUDGET,
    "fixed_topk": {"budget.routing": "topk", "budget.target": 1.0},
    "dense_routing": WITHOUT_BUDGET | {"budget.routing": "topk", "experts.top_k": 4},
    "smaller_model": {"width": 64, "experts.hidden_dim": 64},
}


@pytest.mark.parametrize("file", [copy, sst2])
@pytest.mark.parametrize("ablation", CHANGES)
def test_an_ablation_changes_its_own_fields_and_no_other(file, ablation):
    """Otherwise a comparison with the unablated config is of more than it says."""
    changed, expected = plain(file.get_config(ablation)), plain(file.get_config())
    for name, value in CHANGES[ablation].items():
        path, _, last = f"model.{name}".rpartition(".")
        field(expected, path)[last] = value
    assert changed == expected


def test_every_ablation_is_checked():
    assert set(CHANGES) == {None, *ABLATIONS}


def test_dense_routing_follows_the_number_of_experts():
    """Otherwise a flag that adds experts makes it sparse; and the other way round a flag for
    K would change the model."""
    config = copy.get_config("dense_routing")
    config.model.experts.count = 8
    assert plain(config)["model"]["experts"]["top_k"] == 8
    config.model.experts.top_k = 2
    assert config.model.experts.count == 8
