"""The memory of a layer: its heads keep their order, and reads are decided by what they would
return. Axes: B batch, T time, D width, H heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core.memory import content
from mocanet_jax.nn.heads import Association, Content, PriorityQueue, Ring, Sizes, WriteGate
from mocanet_jax.nn.memory import Context, Memory, head_names
from mocanet_jax.nn.projections import FusedProjections
from mocanet_jax.nn.router import Decisions
from tests.nn.heads import one_head

B, T, D, S, THRESHOLD = 2, 7, 8, 5, 0.4
MASK = np.random.default_rng(0).random((B, T)) < 0.7
Z = np.random.default_rng(2).normal(size=(B, T, D))


def memory(*heads, dynamic=True, parallel=False):
    count = sum(head.count for head in heads)
    return Memory(heads, Sizes(D, D // count, S, 2, dynamic, parallel), dynamic)


def decisions(count, dynamic=True):
    """Random gates of `count` heads."""
    rng = np.random.default_rng(3)
    margins = rng.normal(size=(B, T, count)) if dynamic else None
    opened = np.ones((B, T, count)) if margins is None else margins > 0
    writes = WriteGate(jnp.asarray(opened * MASK[..., None]), margins)
    return Decisions(None, writes, rng.normal(size=(B, T, count)) if dynamic else None)


def projected(net):
    """Random numbers for what every head wants of its input."""
    rng = np.random.default_rng(4)
    draw = lambda p: rng.normal(size=(B, T, p.features))
    wanted = net.projections()
    return {name: {n: draw(p) for n, p in own.items()} for name, own in wanted.items()}


def applied(state):
    """A head's state with no decay pending in its slots."""
    if not hasattr(state, "memory"):
        return state
    return state._replace(memory=content(state.memory))


def run(net, decided, params=None, threshold=THRESHOLD, train=False):
    """What was read, the next state, MemoryAux, and parameters: random unless given."""
    hardness, inputs = jnp.ones((B, 1, 1)), projected(net)

    def apply(net):
        start = net.initial_state(B, S)
        context = Context(hardness, threshold, train)
        return net(jnp.asarray(Z), inputs, decided, jnp.asarray(MASK), start, context)

    if params is None:
        shapes = jax.eval_shape(lambda key: net.init(key, method=apply), jax.random.key(0))
        rng = np.random.default_rng(1)
        params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes["params"])
    results = jax.jit(lambda p: net.apply({"params": p}, method=apply))(params)
    return *jax.device_get(results), params


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("parallel", "read_share", "train"),
    [
        (False, 1.0, False),
        (False, 0.6, False),
        (False, 0.2, False),
        (True, 0.6, False),
        (False, 1.0, True),
    ],
)
def test_a_read_is_decided_by_what_it_would_return(parallel, read_share, train):
    """Against a loop over tokens and heads: the mean square q of the row that was found adds
    weight · (2 q / (1 + q) - 1) to the router's logit. A read that is closed, or masked, adds
    nothing to the output. The same in evaluation with any room for reads, and in training,
    where closed gates know their margins, too."""
    heads, decided = (Ring(1), Content(1)), decisions(2)
    net = memory(*heads, parallel=parallel).clone(read_share=read_share)
    out, _, aux, params = run(net, decided, train=train)
    identity = {n: p for n, p in params.items() if n != "fill"} | {
        "output": {"kernel": np.eye(D)}
    }
    always = memory(*heads, dynamic=False, parallel=parallel)
    found = run(always, decided, identity)[0].reshape(B, T, 2, D // 2)
    expected = np.zeros((B, T, 2, D // 2))
    for at in np.argwhere(np.repeat(MASK[..., None], 2, axis=-1)):
        at = tuple(at)
        q = np.mean(found[at] ** 2)
        logit = decided.read_logits[at] + params["fill"][at[2]] * (2 * q / (1 + q) - 1)
        margin = 6 * np.tanh(logit / 6) - THRESHOLD
        if train or margin > 0:
            np.testing.assert_allclose(aux.read_margins[at], margin, atol=1e-9)
        assert (aux.read_margins[at] > 0) == (margin > 0)
        assert aux.reads[at] == (margin > 0)
        expected[at] = found[at] if margin > 0 else 0
    assert (aux.reads[~MASK] == 0).all()
    assert 0 < aux.reads.sum() < 2 * MASK.sum(), "no gate is open, or all are"
    expected = expected.reshape(B, T, D) @ params["output"]["kernel"]
    np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_without_gates_every_unmasked_token_reads():
    out, _, aux, params = run(memory(Ring(2), dynamic=False), decisions(2, dynamic=False))
    assert aux.write_margins is aux.read_margins is None
    assert "fill" not in params
    np.testing.assert_array_equal(np.abs(out).sum(-1) > 0, MASK)


def test_reads_start_open_where_something_was_written_and_closed_elsewhere():
    """Else a new model reads blanks, or never finds out what its memory is for. The router
    starts at a logit of 2."""
    net = memory(Ring(1), Content(1))
    closed = WriteGate(jnp.zeros((B, T, 2)), jnp.full((B, T, 2), -1.0))
    decided = Decisions(None, closed, jnp.full((B, T, 2), 2.0))
    *_, params = run(net, decided)
    params["fill"] = np.full(2, 2.0)
    params["ring_head"]["start_row"][:] = 9.0
    params["content_head"]["start_rows"][:] = 0.0
    reads = run(net, decided, params, threshold=0.0)[2].reads
    assert (reads[..., 0][MASK] == 1).all()
    assert (reads[..., 1] == 0).all()


@pytest.mark.usefixtures("float64")
def test_heads_of_all_kinds_keep_their_order():
    """Each kind must get its own projections, gates and state: what four kinds read together is
    what each reads alone."""
    heads = (Ring(1), Content(1), Association(1), PriorityQueue(1))
    net, decided = memory(*heads), decisions(4)
    _, _, aux, params = run(net, decided)
    params["output"] = {"kernel": np.eye(D)}
    out, states, _, _ = run(net, decided, params)
    inputs, names = projected(net), head_names(heads)
    for n, (name, head) in enumerate(zip(names, heads, strict=True)):
        alone = head.clone(parent=None, sizes=net.sizes)
        writes = WriteGate(*(x[..., n : n + 1] for x in decided.writes[:2]))

        def apply(head, name=name, writes=writes):
            start, mask = head.initial_state(B, S), jnp.asarray(MASK)
            return head(jnp.asarray(Z), inputs[name], writes, mask, start, jnp.ones((B, 1, 1)))

        output = jax.jit(lambda p, a=alone, f=apply: a.apply({"params": p}, method=f))(
            params[name]
        )
        part = slice(2 * n, 2 * n + 2)
        expected = output.read[:, :, 0] * aux.reads[..., n : n + 1]
        np.testing.assert_allclose(out[..., part], expected, atol=1e-9)
        for got, want in zip(
            jax.tree.leaves(applied(states[n])),
            jax.tree.leaves(applied(output.state)),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, atol=1e-12)


def test_names_of_heads_differ_by_kind():
    """Parameters of two entries of one kind must not collide."""
    names = head_names((Ring(1), PriorityQueue(1), Ring(2), Content(1)))
    assert names == ["ring_head", "priority_queue_head", "ring_head_2", "content_head"]


def test_projections_are_one_product_of_many():
    """The fused product gives each owner what a product of its own would."""
    wanted = memory(Ring(1), Content(1)).projections()
    net = FusedProjections(tuple((owner, tuple(p.items())) for owner, p in wanted.items()))
    z, _ = one_head.random_inputs(D=D)
    params = jax.jit(net.init)(jax.random.key(0), z)["params"]
    products = jax.jit(net.apply)({"params": params}, z)
    for owner, own in wanted.items():
        for name, projection in own.items():
            weights = params[f"{owner}_{name}"]
            expected = z @ np.asarray(weights["kernel"]) + np.asarray(weights.get("bias", 0))
            np.testing.assert_allclose(products[owner][name], expected, rtol=1e-4, atol=1e-5)
            assert ("bias" in weights) == (projection.bias_init is not None)
