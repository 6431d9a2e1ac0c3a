"""Reads that are decided by what they would get. Axes: B batch, T time, D width, H heads."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mocanet_jax.nn.memory_bank import BankState, MemoryBank
from mocanet_jax.nn.route import Keys, Order, Route

from mocanet_jax.core import memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.associations import recall
from mocanet_jax.core.order import by_place

B, T, D, S, COST = 2, 7, 4, 3, 0.4


def bank(dynamic=True, form="recurrent"):
    """One head that addresses a ring and one that addresses by content."""
    return MemoryBank(D, 1, 1, S, dynamic, form)


def route(dynamic=True):
    """Random accesses to two slots of each head; some tokens are masked."""
    rng = np.random.default_rng(0)
    mask = np.repeat(rng.random((B, T, 1)) < 0.7, 2, axis=-1)
    weights = rng.random((B, T, 2, 2))
    weights /= np.linalg.norm(weights, axis=-1, keepdims=True)
    indices = rng.permuted(np.tile(np.arange(S), (B, T, 2, 1)), axis=-1)[..., :2]
    address = Address(jnp.asarray(indices, jnp.int32), jnp.asarray(weights))
    return Route(
        expert_logits=None,
        write=address,
        read=jax.tree.map(lambda x: x[::-1], address),
        strength=jnp.asarray(rng.random((B, T, 2)) * mask),
        log_retention=jnp.asarray(-rng.random((B, T, 2)) * mask * np.array([0, 1])),
        positions=None,
        laps=None,
        writes=jnp.asarray(mask, float),
        reads=jnp.asarray(mask, float),
        read_logits=jnp.asarray(rng.normal(size=(B, T, 2))) if dynamic else None,
        write_margins=None,
        read_margins=None,
    )


def run(net, decided, z, params=None, cost=COST):
    """What was read, the next state, the route, and parameters: random unless given."""

    def apply(bank):
        return bank(z, decided, bank.initial_state(B, S), cost)

    if params is None:
        shapes = jax.eval_shape(lambda key: net.init(key, method=apply), jax.random.key(0))
        rng = np.random.default_rng(1)
        params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    results = jax.jit(lambda params: net.apply(params, method=apply))(params)
    return *jax.device_get(results), params


Z = np.random.default_rng(2).normal(size=(B, T, D))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("form", ["recurrent", "chunked"])
def test_a_read_is_decided_by_what_it_would_get(form):
    """Against a loop over tokens and heads: the mean square q of the row that was found adds
    weight · (2 q / (1 + q) - 1) to the router's logit. A read that is shut, or masked, adds
    nothing to the output."""
    decided = jax.device_get(route())
    out, _, after, params = run(bank(form=form), decided, Z)
    always = bank(dynamic=False, form=form)
    plain = {name: leaf for name, leaf in params["params"].items() if name != "fill"}
    identity = {"params": plain | {"output": {"kernel": np.eye(D)}}}
    found = run(always, decided, Z, identity)[0].reshape(B, T, 2, D // 2)
    expected = np.zeros((B, T, 2, D // 2))
    for at in np.ndindex(B, T, 2):
        q = np.mean(found[at] ** 2)
        logit = decided.read_logits[at] + params["params"]["fill"][at[2]] * (
            2 * q / (1 + q) - 1
        )
        margin = 6 * np.tanh(logit / 6) - COST
        if decided.reads[at]:
            np.testing.assert_allclose(after.read_margins[at], margin, atol=1e-9)
            assert after.reads[at] == (margin > 0)
            expected[at] = found[at] if margin > 0 else 0
        assert after.reads[at] <= decided.reads[at]
    assert 0 < after.reads.sum() < decided.reads.sum(), "no gate is open, or all are"
    expected = expected.reshape(B, T, D) @ params["params"]["output"]["kernel"]
    np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_without_gates_every_unmasked_token_reads():
    decided = jax.device_get(route(dynamic=False))
    out, _, after, params = run(bank(dynamic=False), decided, Z)
    chex.assert_trees_all_equal(after, decided)
    assert "fill" not in params["params"]
    assert np.all((np.abs(out).sum(-1) > 0) == (decided.reads[..., 0] == 1))


def test_reads_start_open_where_something_was_written_and_shut_elsewhere():
    """Else a new model reads blanks, or never finds out what its memory is for. The router
    starts at a logit of 2."""
    decided = route()._replace(read_logits=jnp.full((B, T, 2), 2.0))
    net = bank()
    still = decided._replace(strength=jnp.zeros((B, T, 2)))
    apply = lambda bank: bank(Z, still, bank.initial_state(B, S), 0.0)
    start = jax.jit(lambda key: net.init(key, method=apply))(jax.random.key(0))["params"]
    rows = {"content_slots": np.zeros((1, S, 2)), "ring_slots": np.full((1, 1, 2), 9.0)}
    _, _, after, _ = run(net, still, Z, {"params": start | rows}, cost=0.0)
    mask = decided.reads[..., 0] == 1
    assert (after.reads[..., 0][mask] == 1).all()
    assert (after.reads[..., 1] == 0).all()


def every_kind():
    """A head on a ring, one with a slot for every key, one that associates and one that sorts,
    over 8 numbers: a bank and a route of random decisions."""
    decided, rng = route(), np.random.default_rng(3)
    keys = Keys(*rng.normal(size=(2, B, T, 1, 2)), jnp.zeros((B, 1)))
    rank, stored = rng.normal(size=(B, T, 1, 1)), rng.normal(size=(B, T, 8))
    order = Order(rank, rng.uniform(1, 3, size=(B, T, 1, 2)), jnp.zeros((B, 1)), stored)
    twice = lambda x: jnp.concatenate([x, x[..., ::-1]], axis=-1)
    names = ("strength", "writes", "reads", "read_logits")
    decided = decided._replace(
        associations=keys, order=order, **{n: twice(getattr(decided, n)) for n in names}
    )
    return MemoryBank(8, 1, 1, S, True, num_association_heads=1, num_order_heads=1), decided


@pytest.mark.usefixtures("float64")
def test_heads_of_all_kinds_keep_their_order():
    """Each kind must get its own values, strengths and gates: what a bank of four heads reads
    is what two heads with addresses read, beside it what one that associates recalls, and what
    one that sorts does."""
    net, decided = jax.device_get(every_kind())
    z = np.random.default_rng(4).normal(size=(B, T, 8))
    _, _, _, variables = run(net, decided, z)
    params = variables["params"] | {"output": {"kernel": np.eye(8)}}
    out, state, after, _ = run(net, decided, z, {"params": params})
    value = (z @ params["value"]["kernel"]).reshape(B, T, 3, 2)

    start = jax.jit(lambda params: net.apply(params, B, S, method="initial_state"))(
        {"params": params}
    )
    addressed = decided.write, decided.read, value[:, :, :2], decided.strength[..., :2]
    first, slots = jax.jit(memory.recurrent)(start.slots, *addressed, decided.log_retention)
    key, query, sink = decided.associations
    second, associations, used = jax.jit(recall)(
        start.associations, query, key, value[:, :, 2:], decided.strength[..., 2:3], sink
    )
    key, query, sink, stored = decided.order
    sorted_ = (stored @ params["order_value"]["kernel"])[:, :, None]
    third, order, places = jax.jit(partial(recall, score=by_place))(
        start.order, query, key, sorted_, decided.strength[..., 3:], sink
    )
    found = np.concatenate([first.reshape(B, T, 2, 2), second, third], axis=2)
    square = np.mean(found**2, axis=-1)
    logits = decided.read_logits + params["fill"][None, None] * (2 * square / (1 + square) - 1)
    opened = decided.reads * (6 * np.tanh(logits / 6) > COST)
    assert 0 < opened[..., 2:].sum() < decided.reads[..., 2:].sum(), "all open, or none"
    np.testing.assert_array_equal(after.reads, opened)
    np.testing.assert_allclose(out, (found * opened[..., None]).reshape(B, T, 8), atol=1e-9)
    chex.assert_trees_all_close(state, BankState(slots, associations, order), atol=1e-12)
    both = jax.tree.map(lambda *x: np.concatenate(x, axis=2), used, places)
    chex.assert_trees_all_close(after.recalled, both, atol=1e-12)
