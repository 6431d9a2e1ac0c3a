"""The state of a model with counters, automata, loops, association and priority queue heads:
what a stream, a mask and a larger memory must leave the same. Axes: B batch, T time.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.config import AutomataConfig
from mocanet_jax.nn.heads import Association, Loop, PriorityQueue
from tests.nn import small

B, T = 3, 8
MASK = np.array(
    [[0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 0, 0, 1], [1, 1, 1, 1, 0, 0, 0, 0]], bool
)
WHOLE = np.ones((B, T), bool)
PARTS = {
    "num_experts": 0,
    "width": 9,
    "heads": (
        Loop(1, sharpness=0.7, max_wraps=2),
        Association(1),
        PriorityQueue(1, sharpness=0.7),
    ),
    "counters": (2, 3),
    "automata": AutomataConfig(2, 3, 4),
}
FORMS = {"eval": ("scan", "dynamic", False, 1.0), "train": ("parallel", "topk", True, 0.5)}
SEED = 1
"""Of parameters with which either head writes, and reads, at about half of the tokens."""
each_form = pytest.mark.parametrize("form", FORMS)

pytestmark = pytest.mark.usefixtures("float64")


def prepared(form):
    """(tokens, state, mask) → (logits, state', aux), and the state before a sequence."""
    time, routing, *mode = FORMS[form]
    net = small.model(1, time=time, routing=routing, **PARTS)
    params, run = small.random_params(net, SEED), small.compiled(net, *mode)
    fresh = small.compiled_start(net, B)(params)
    return lambda tokens, state, mask: run(params, tokens, state, mask), fresh


@each_form
@pytest.mark.parametrize("mask", [WHOLE, MASK], ids=["whole", "masked"])
def test_segments_join_into_the_whole_sequence(mask, form):
    """Halves, and one token at a time."""
    run, fresh = prepared(form)
    tokens = small.random_tokens(B, T)
    whole, expected, _ = run(tokens, fresh, mask)
    for cuts in ((0, 4, 8), tuple(range(9))):
        joined, state = small.in_segments(run, tokens, fresh, mask, cuts)
        np.testing.assert_allclose(joined[mask], whole[mask], atol=1e-9)
        chex.assert_trees_all_close(small.settled(state), small.settled(expected), atol=1e-9)


@each_form
def test_padding_is_as_good_as_absent(form):
    """Wherever it stands it writes nothing, turns nothing and moves nothing; a sequence of
    nothing else keeps its state to the last bit."""
    run, fresh = prepared(form)
    tokens = small.random_tokens(B, T)
    padded, state, _ = run(tokens, fresh, MASK)
    compact, expected, _ = run(tokens[MASK].reshape(B, -1), fresh, np.ones((B, 4), bool))
    np.testing.assert_allclose(padded[MASK].reshape(compact.shape), compact, atol=1e-9)
    chex.assert_trees_all_close(small.settled(state), small.settled(expected), atol=1e-9)
    _, untouched, _ = run(tokens, state, np.zeros((B, T), bool))
    chex.assert_trees_all_equal(untouched, state)


def test_every_part_of_the_state_matters():
    """Streams would join trivially in a model that does not use what it carries."""
    run, fresh = prepared("eval")
    tokens = small.random_tokens(B, T)
    _, used, _ = run(tokens, fresh, WHOLE)
    before, _, _ = run(tokens, used, WHOLE)
    layer, start = used.layers[0], fresh.layers[0]
    loop, association, queue = layer.memory
    fresh_loop, fresh_association, fresh_queue = start.memory
    heads = {
        "pointers": (loop._replace(read=fresh_loop.read), association, queue),
        "slots": (loop._replace(memory=fresh_loop.memory), association, queue),
        "recent": (loop, association._replace(recent=fresh_association.recent), queue),
        "entries": (loop, association._replace(entries=fresh_association.entries), queue),
        "place": (loop, association, queue._replace(place=fresh_queue.place)),
        "queue": (loop, association, queue._replace(entries=fresh_queue.entries)),
    }
    parts = {name: layer._replace(memory=changed) for name, changed in heads.items()}
    parts["counters"] = layer._replace(counters=start.counters)
    parts["automata"] = layer._replace(automata=start.automata)
    for name, without in parts.items():
        after, _, _ = run(tokens, used._replace(layers=(without,)), WHOLE)
        assert np.abs(before - after).max() > 1e-4, name


def test_a_larger_memory_changes_nothing_until_it_is_needed():
    """8 writes fit in 9 slots; those of 32 tokens do not, and what is overwritten is missed."""
    net = small.model(1, **PARTS)
    params, run = small.random_params(net, SEED), small.compiled(net, False, 1.0)
    states = [small.compiled_start(net, B, slots)(params) for slots in (9, 40)]
    assert [s.layers[0].memory[0].memory.slots.shape[2] for s in states] == [9, 40]
    differences = []
    for part in range(4):
        tokens = small.random_tokens(B, T, seed=part)
        (trained, *_), (enlarged, *_) = runs = [run(params, tokens, s, WHOLE) for s in states]
        states = [state for _, state, _ in runs]
        differences.append(np.abs(trained - enlarged).max())
    assert differences[0] < 1e-12
    assert max(differences) > 1e-3


def test_time_forms_agree():
    """A model trained on one machine must be the same model on another."""
    scan, parallel = (small.model(1, time=time, **PARTS) for time in ("scan", "parallel"))
    params, tokens = small.random_params(scan, SEED), small.random_tokens(B, T)
    fresh = small.compiled_start(scan, B)(params)
    expected, got = (
        small.compiled(net, False, 1.0)(params, tokens, fresh, MASK)[:2]
        for net in (scan, parallel)
    )
    np.testing.assert_allclose(got[0][MASK], expected[0][MASK], atol=1e-9)
    chex.assert_trees_all_close(small.settled(got[1]), small.settled(expected[1]), atol=1e-9)


def test_every_parameter_is_trained():
    """From random parameters and from the initial ones. A gradient that is not finite ends a
    training, and one of zero leaves a part as it started. Read pointers of a new model rest, so
    that none has wrapped yet."""
    net, tokens = small.model(1, **PARTS), small.random_tokens(B, T)
    with jax.enable_x64(False):
        initial = jax.jit(net.init)(jax.random.key(1), jnp.zeros((1, 2), int))
    drawn = small.random_params(net, SEED)
    for params, resting in ((drawn, ()), (jax.tree.map(np.float64, initial), ("wraps",))):
        for hardness in (0.5, 1.0):
            gradient, _ = small.compiled_gradient(net)(params, tokens, MASK, hardness)
            for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
                name = jax.tree_util.keystr(path)
                assert np.isfinite(leaf).all(), name
                assert np.abs(leaf).max() > 1e-7 or any(part in name for part in resting), name
