"""The ablations that any task can be run with."""

from ml_collections import ConfigDict

from mocanet_jax.runtime import docstrings
from mocanet_jax.train.config.defaults import HEADS

POINTERS = ("mocanet_jax.nn.heads.pointers", "PointerHead")


def no_memory(config: ConfigDict) -> None:
    for head in config.model.memory.heads.values():
        head.count = 0
    config.model.cache.num_slots = 0


def no_experts(config: ConfigDict) -> None:
    """Without a target, which is a share of everything on: of the memory alone it would be a
    far smaller budget."""
    config.model.experts.count = 0
    config.model.budget.target = 1.0


def no_controller(config: ConfigDict) -> None:
    config.model.controller.enabled = False


def no_location(config: ConfigDict) -> None:
    """Heads that follow pointers address by content instead."""
    heads = config.model.memory.heads
    for kind, place in HEADS.items():
        if POINTERS in docstrings.ancestors(*place):
            heads.content.count += heads[kind].count
            heads[kind].count = 0


def no_budget(config: ConfigDict) -> None:
    """Gates stay, and nothing presses on them."""
    config.model.budget.target = 1.0
    config.model.budget.base_cost = 0.0


def fixed_topk(config: ConfigDict) -> None:
    """K experts, a write and a read at every token; no target, which nothing could follow."""
    config.model.budget.routing = "topk"
    config.model.budget.target = 1.0


def dense_routing(config: ConfigDict) -> None:
    """Everything on at every token."""
    no_budget(config)
    config.model.budget.routing = "topk"
    # A reference, so that K is E also where a flag sets E later.
    config.model.experts.top_k = config.model.experts.get_oneway_ref("count")


def smaller_model(config: ConfigDict) -> None:
    """Half as wide; vectors of pieces of words stay."""
    config.model.width //= 2
    config.model.experts.hidden_dim //= 2


ABLATIONS = {
    f.__name__: f
    for f in (
        no_memory,
        no_experts,
        no_controller,
        no_location,
        no_budget,
        fixed_topk,
        dense_routing,
        smaller_model,
    )
}


def with_ablations(config: ConfigDict, names: str | None) -> ConfigDict:
    """The config after `--config=FILE:NAMES`, ablations with commas between, applied in that
    order; None or empty for none. Raises ValueError for an unknown name."""
    for name in names.split(",") if names else ():
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}; known: {', '.join(ABLATIONS)}")
        ABLATIONS[name](config)
    return config
