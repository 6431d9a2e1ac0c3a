"""Models whose slots keep what is important. Axes: B batch, T time."""

import chex
import jax
import numpy as np
import pytest

from mocanet_jax.nn.heads import Association
from tests.nn import small
from tests.nn.test_model_memories import MASK, WHOLE, B, T

PARTS = {"num_experts": 0, "width": 8, "num_slots": 3, "active_slots": 2}
FORMS = {"eval": ("scan", "dynamic", False, 1.0), "train": ("parallel", "topk", True, 0.5)}


KINDS = {
    "least_important": {"eviction": "least_important"},
    "random": {"eviction": "random"},
    "oldest": {},
    "merging": {"merge_above": 0.5},
    "merging the important": {"eviction": "least_important", "merge_above": 0.5},
    "low rank": {"value_rank": 1},
}


def prepared(kind, form, **changes):
    time, routing, *mode = FORMS[form]
    heads = (Association(2, **KINDS[kind]),)
    net = small.model(1, time=time, routing=routing, heads=heads, **PARTS | changes)
    params, run = small.random_params(net, 5), small.compiled(net, *mode)
    fresh = small.compiled_start(net, B)(params)
    return lambda tokens, state, mask: run(params, tokens, state, mask), fresh


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "oldest"])
def test_segments_join_into_the_whole_sequence(kind, form):
    """Halves and single tokens, with padding anywhere: what stays does not depend on it."""
    run, fresh = prepared(kind, form)
    tokens = small.random_tokens(B, T)
    for mask in (WHOLE, MASK):
        whole, expected, _ = run(tokens, fresh, mask)
        for cuts in ((0, 4, 8), tuple(range(9))):
            joined, state = small.in_segments(run, tokens, fresh, mask, cuts)
            np.testing.assert_allclose(joined[mask], whole[mask], atol=1e-9)
            chex.assert_trees_all_close(state, expected, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_with_slots_for_all_tokens_no_choice_matters():
    tokens, results = small.random_tokens(B, T), {}
    for kind in ("least_important", "random"):
        run, fresh = prepared(kind, "train", num_slots=T)
        few, start = prepared(kind, "train")
        results[kind] = run(tokens, fresh, WHOLE)[0]
        assert np.abs(few(tokens, start, WHOLE)[0] - results[kind]).max() > 1e-3
    # The parameters of `random` are those of `oldest`.
    run, fresh = prepared("oldest", "train", num_slots=T)
    np.testing.assert_allclose(run(tokens, fresh, WHOLE)[0], results["random"], atol=1e-9)


def test_the_oldest_goes_by_default_and_at_first():
    """A model without the choice has no parameter for it, and one with it starts without a
    preference."""
    kernels = {}
    for eviction in ("oldest", "least_important"):
        net = small.model(1, heads=(Association(2, eviction=eviction),), **PARTS)
        params = jax.jit(lambda key, net=net: net.init(key, np.zeros((1, 2), int)))(
            jax.random.key(0)
        )["params"]
        kernels[eviction] = params["layers_0"]["projections"]
    assert not [name for name in kernels["oldest"] if "importance" in name]
    name = "association_head_importance"
    np.testing.assert_array_equal(kernels["least_important"][name]["kernel"], 0)


def test_values_of_low_rank_take_fewer_numbers():
    """Of four a value one is kept; what is read are multiples of one row of each head."""
    net = small.model(1, heads=(Association(2, value_rank=1),), **PARTS)
    state = small.compiled_start(net, B)(small.random_params(net)).layers[0].memory[0]
    assert state.entries.values.shape == (B, 2, 3, 1)
    assert state.entries.keys.shape == (B, 2, 3, 4)


def test_other_words_are_refused():
    for wrong in ({"merge_above": 0.0}, {"merge_above": 1.5}, {"value_rank": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Association(1, **wrong)
    with pytest.raises(ValueError, match="eviction must be one of oldest, least_important"):
        Association(1, eviction="newest")
