from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocanet_jax.core import dispatch
from mocanet_jax.core.dispatch import Dispatch


def random_choices(rng, batch, length, num_experts, k):
    every = np.broadcast_to(
        np.arange(num_experts, dtype=np.int32), (batch, length, num_experts)
    )
    return jnp.asarray(rng.permuted(every, axis=-1)[..., :k])


def kept_by_counting(indices, live, num_experts, capacity):
    """Which choices find room: one token after another, in time order."""
    kept = np.zeros(indices.shape, bool)
    for b in range(indices.shape[0]):
        used = [0] * num_experts
        for t in range(indices.shape[1]):
            for k, expert in enumerate(np.asarray(indices[b, t])):
                if live[b, t, k] and used[expert] < capacity:
                    kept[b, t, k] = True
                    used[expert] += 1
    return kept


def run_experts(x, weights, bias):
    """[E, B, C, D]; the bias makes empty slots non-zero, so that a leak of one would show."""
    return jnp.tanh(jnp.einsum("ebcd,edf->ebcf", x, weights) + bias[:, None, None])


def test_top_k_gates_by_hand():
    """Odds 1 : 6 : 1 : 2 are probabilities 0.1, 0.6, 0.1 and 0.2; the best two are kept."""
    gates = dispatch.top_k_gates(jnp.log(jnp.array([[[1.0, 6.0, 1.0, 2.0]]])), 2)
    np.testing.assert_array_equal(gates.indices, [[[1, 3]]])
    np.testing.assert_allclose(gates.weights, [[[0.6, 0.2]]], rtol=1e-6)


def test_the_weight_of_a_single_choice_has_a_gradient():
    """A weight rescaled to 1 would leave the router without a gradient of the loss."""
    weight = lambda logits: dispatch.top_k_gates(logits, 1).weights[0, 0, 0]
    gradient = jax.grad(weight)(jnp.log(jnp.array([[[1.0, 3.0]]])))
    # p = 0.75: dp/dlogit of the chosen is p(1 - p), of the other -p(1 - p)
    np.testing.assert_allclose(gradient, [[[-0.1875, 0.1875]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("factor", "capacity"),
    [
        (1.0, 5),  # 2 · 10 / 4
        (1.5, 8),  # 7.5, rounded up
        (0.01, 1),  # never without room
        (100.0, 10),  # a token goes to an expert at most once
        (None, 10),
    ],
)
def test_expert_capacity_by_hand(factor, capacity):
    """Too little room drops tokens for nothing; too much wastes compute."""
    assert (
        dispatch.expert_capacity(num_tokens=10, num_experts=4, k=2, factor=factor) == capacity
    )


def test_expert_capacity_is_that_of_the_experts_used_on_average():
    """1.3 experts a token are 3.25 tokens for each of 4; none on average still has room."""
    room = [dispatch.expert_capacity(10, 4, k, 1.0) for k in (1.3, 0.0)]
    assert room == [4, 1]


def test_plan_dispatch_by_hand():
    """Four tokens, room for two per expert; the second is padding and takes none."""
    indices = jnp.array([[[0], [0], [0], [0], [1]]], jnp.int32)
    live = jnp.array([[True, False, True, True, True]])[..., None]
    plan = dispatch.plan_dispatch(indices, live, num_experts=3, capacity=2)
    # Expert 0 serves steps 0 and 2, and drops 3; expert 1 serves 4; 5 marks an empty slot.
    np.testing.assert_array_equal(plan.token_of_slot[:, 0], [[0, 2], [4, 5], [5, 5]])
    # Places in the flat buffer of 3 · 2; 6 is nowhere.
    np.testing.assert_array_equal(plan.slot_of_choice[0, :, 0], [0, 6, 1, 6, 2])
    np.testing.assert_array_equal(plan.kept[0, :, 0], [True, False, True, False, True])
    assert plan.dropped == 1


def test_a_closed_choice_takes_no_place_by_hand():
    """An expert that is not used must leave its room to who uses it, and a token's other
    choice alone. Room for one: step 0 does not use expert 0, step 1 does, step 2 comes late."""
    indices = jnp.array([[[0, 1], [0, 2], [0, 1], [2, 0]]], jnp.int32)
    live = jnp.array([[[False, True], [True, True], [True, False], [False, False]]])
    plan = dispatch.plan_dispatch(indices, live, num_experts=3, capacity=1)
    np.testing.assert_array_equal(plan.token_of_slot[:, 0], [[1], [0], [1]])
    np.testing.assert_array_equal(plan.slot_of_choice[0], [[3, 1], [0, 2], [3, 3], [3, 3]])
    np.testing.assert_array_equal(plan.kept[0], live[0].at[2, 0].set(False))
    assert plan.dropped == 1


class Sizes(NamedTuple):
    """Of a dispatch of B × T tokens to E experts of C places; k is cut to E."""

    batch: int
    length: int
    num_experts: int
    k: int
    capacity: int


@pytest.mark.usefixtures("float64")
@example(Sizes(2, 6, 3, 2, 6), 1.0, 0)  # room for all
@example(Sizes(1, 5, 4, 4, 2), 1.0, 0)  # every expert chosen
@example(Sizes(2, 6, 3, 1, 1), 1.0, 0)  # almost all dropped
@example(Sizes(2, 6, 3, 2, 2), 0.6, 0)  # some closed, some dropped
@settings(max_examples=5)
@given(
    st.builds(
        Sizes,
        st.integers(1, 2),
        st.integers(1, 7),
        st.integers(1, 4),
        st.integers(1, 4),
        st.integers(1, 7),
    ),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.integers(0, 99),
)
def test_dispatch_is_the_dense_mixture_of_what_found_room(sizes, open_gates, seed):
    """Against all experts run on all tokens, in value, gradient and number of drops."""
    batch, length, num_experts, k, capacity = sizes
    rng, k, width = np.random.default_rng(seed), min(k, num_experts), 3
    indices = random_choices(rng, batch, length, num_experts, k)
    live = rng.random((batch, length, 1)) < 0.8  # of tokens, and of their choices
    live = jnp.asarray(live & (rng.random((batch, length, k)) < open_gates))
    x = rng.normal(size=(batch, length, width))
    gates = rng.uniform(size=(batch, length, k))
    weights, bias = rng.normal(size=(num_experts, width, width)), np.ones((num_experts, width))
    target = rng.normal(size=x.shape)
    kept = kept_by_counting(indices, live, num_experts, capacity)

    def routed(x, gates, weights, bias):
        plan = dispatch.plan_dispatch(indices, live, num_experts, capacity)
        results = run_experts(dispatch.gather_tokens(x, plan), weights, bias)
        results = dispatch.gather_results(results, plan)
        return jnp.einsum("btkd,btk->btd", results, gates), (plan.dropped, plan.kept)

    def dense(x, gates, weights, bias):
        everywhere = jnp.broadcast_to(x[None], (num_experts, *x.shape))
        results = jnp.moveaxis(run_experts(everywhere, weights, bias), 0, 2)
        results = jnp.take_along_axis(results, indices[..., None], axis=2)
        dropped = (np.asarray(live) & ~kept).sum()
        return jnp.einsum("btkd,btk->btd", results, gates * kept), (dropped, kept)

    def outcome(function, *arguments):
        def loss(*arguments):
            output, counts = function(*arguments)
            return jnp.sum(output * target), (output, *counts)

        gradient, values = jax.grad(loss, argnums=range(4), has_aux=True)(*arguments)
        return *values, *gradient

    every = jax.jit(lambda *arguments: [outcome(f, *arguments) for f in (routed, dense)])
    got, expected = every(x, gates, weights, bias)
    names = ("output", "dropped", "kept", "gradient of x", "of gates", "of weights", "of bias")
    for name, a, b in zip(names, got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


def test_tokens_are_served_in_time_order():
    """A later token must not push an earlier one out: that would be a look into the future."""
    rng = np.random.default_rng(0)
    before = random_choices(rng, 2, 8, 3, 2)
    after = before.at[:, 5:].set(random_choices(rng, 2, 3, 3, 2))
    plan = partial(dispatch.plan_dispatch, num_experts=3, capacity=3)
    plans = [plan(indices, jnp.ones((2, 8, 2), bool)) for indices in (before, after)]
    np.testing.assert_array_equal(*(p.slot_of_choice[:, :5] for p in plans))
    assert not np.array_equal(*(p.slot_of_choice[:, 5:] for p in plans))


def test_room_is_counted_for_each_sequence():
    """A greedy sequence must not take room from its neighbour in the batch."""
    indices = jnp.zeros((2, 3, 1), jnp.int32)
    mask = jnp.array([[True, True, True], [False, False, True]])
    plan = dispatch.plan_dispatch(indices, mask[..., None], num_experts=2, capacity=2)
    np.testing.assert_array_equal(plan.slot_of_choice[..., 0], [[0, 1, 4], [4, 4, 0]])
    assert plan.dropped == 1


def balance(logits, indices, mask, open_gates=True):
    """The loss where all choices of unmasked tokens are live, but for closed ones."""
    live = jnp.broadcast_to(mask[..., None], indices.shape) & open_gates
    return dispatch.load_balance_loss(logits, indices, live, mask)


def test_load_balance_loss_is_one_for_even_routing():
    """Each of 4 experts has a quarter of the choices and of the probability."""
    indices = jnp.arange(8, dtype=jnp.int32).reshape(1, 4, 2) % 4
    loss = balance(jnp.zeros((1, 4, 4)), indices, jnp.ones((1, 4), bool))
    np.testing.assert_allclose(loss, 1.0, rtol=1e-6)


def test_load_balance_loss_by_hand():
    """Three tokens count, the masked fourth does not."""
    logits = jnp.log(jnp.array([[[3.0, 1.0], [3.0, 1.0], [1.0, 3.0], [1.0, 99.0]]]))
    indices = jnp.array([[[0], [0], [1], [1]]], jnp.int32)
    mask = jnp.array([[True, True, True, False]])
    # f = (2/3, 1/3); p = (0.75 + 0.75 + 0.25, 0.25 + 0.25 + 0.75) / 3 = (7/12, 5/12).
    expected = 2 * (2 / 3 * 7 / 12 + 1 / 3 * 5 / 12)
    np.testing.assert_allclose(balance(logits, indices, mask), expected, rtol=1e-6)


def test_load_balance_loss_counts_live_choices_alone():
    """An expert that is chosen but closed carries no load. Of the choices 0, 1, 0 and, masked,
    1 the second is closed: f = (1, 0), and p as of all unmasked tokens, (7/12, 5/12)."""
    logits = jnp.log(jnp.array([[[3.0, 1.0], [1.0, 3.0], [3.0, 1.0], [1.0, 99.0]]]))
    indices = jnp.array([[[0], [1], [0], [1]]], jnp.int32)
    mask = jnp.array([[True, True, True, False]])
    opened = jnp.array([[[True], [False], [True], [True]]])
    loss = balance(logits, indices, mask, opened)
    np.testing.assert_allclose(loss, 2 * 7 / 12, rtol=1e-6)


def test_load_balance_loss_counts_every_choice():
    """With K = 2 of 3, f = (1/2, 1/2, 0) adds up to 1 over choices, not to 2."""
    logits = jnp.log(jnp.array([[[2.0, 1.0, 1.0], [1.0, 2.0, 1.0]]]))
    indices = jnp.array([[[0, 1], [1, 0]]], jnp.int32)
    # p = (3/8, 3/8, 1/4), so 3 · (3/16 + 3/16).
    loss = balance(logits, indices, jnp.ones((1, 2), bool))
    np.testing.assert_allclose(loss, 9 / 8, rtol=1e-6)


def test_router_z_loss_by_hand():
    """Log-partitions log 4 and log 2 count; the masked token does not."""
    logits = jnp.log(jnp.array([[[3.0, 1.0], [50.0, 50.0]], [[1.0, 1.0], [50.0, 50.0]]]))
    mask = jnp.array([[True, False], [True, False]])
    expected = (np.log(4) ** 2 + np.log(2) ** 2) / 2
    np.testing.assert_allclose(dispatch.router_z_loss(logits, mask), expected, rtol=1e-6)


def test_losses_of_nothing_are_zero():
    """A batch of padding alone, or of gates that are all closed, must not put NaN into the
    gradient."""
    logits, nothing = jnp.ones((1, 2, 3)), jnp.zeros((1, 2), bool)
    indices, all_closed = jnp.zeros((1, 2, 1), jnp.int32), jnp.zeros((1, 2, 1), bool)
    for loss in (
        lambda logits: balance(logits, indices, nothing),
        lambda logits: balance(logits, indices, ~nothing, all_closed),
        lambda logits: dispatch.router_z_loss(logits, nothing),
    ):
        value, gradient = jax.jit(jax.value_and_grad(loss))(logits)
        assert value == 0
        np.testing.assert_array_equal(gradient, jnp.zeros((1, 2, 3)))


LOGITS = jnp.ones((2, 3, 4))
INDICES, MASK = jnp.zeros((2, 3, 1), jnp.int32), jnp.ones((2, 3), bool)
LIVE = MASK[..., None]
PLAN = Dispatch(jnp.zeros((4, 2, 5), jnp.int32), INDICES, LIVE, jnp.zeros((), jnp.int32))


@pytest.mark.parametrize(
    "call",
    [
        lambda: dispatch.top_k_gates(jnp.ones((2, 3)), 1),
        lambda: dispatch.top_k_gates(jnp.ones((2, 3, 4), int), 1),
        lambda: dispatch.plan_dispatch(INDICES, LIVE[:1], 4, 5),
        lambda: dispatch.plan_dispatch(INDICES, MASK, 4, 5),
        lambda: dispatch.plan_dispatch(INDICES, LIVE.astype(float), 4, 5),
        lambda: dispatch.plan_dispatch(INDICES.astype(float), LIVE, 4, 5),
        lambda: dispatch.gather_tokens(jnp.ones((2, 4, 6)), PLAN),
        lambda: dispatch.gather_results(jnp.ones((4, 2, 3, 6)), PLAN),
        lambda: dispatch.load_balance_loss(LOGITS, INDICES, LIVE, MASK[:, :1]),
        lambda: dispatch.load_balance_loss(LOGITS, INDICES, LIVE, MASK.astype(float)),
        lambda: dispatch.load_balance_loss(LOGITS, INDICES, LIVE[:1], MASK),
        lambda: dispatch.load_balance_loss(LOGITS, INDICES, LIVE.astype(float), MASK),
        lambda: dispatch.router_z_loss(jnp.ones((2, 3, 4)), MASK[:, :1]),
        lambda: dispatch.router_z_loss(jnp.ones((2, 3, 4), int), MASK),
    ],
)
def test_wrong_shapes_and_types_are_refused(call):
    """Gathers clamp their indices and would return the wrong tokens."""
    with pytest.raises(AssertionError):
        call()
