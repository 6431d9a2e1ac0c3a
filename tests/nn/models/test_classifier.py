"""What the classifier must keep, whatever its parameters: members and texts that do not see
each other, padding that is as good as absent, an order of words that counts, two directions
alike.

Axes: N members, B batch, T time, M pieces of a word, D width, C classes.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.nn import small
from tests.nn.models.classifiers import (
    CLASSES,
    MASK,
    PIECES,
    QUICK,
    VOCABULARY,
    B,
    D,
    N,
    T,
    classifier,
    random_params,
    random_tokens,
    run,
    shapes,
)

each_direction = pytest.mark.parametrize("kind", ["both", "topk", "bare one"])
in_float64 = pytest.mark.usefixtures("float64")


def pick(tree, *indices):
    return jax.tree.map(lambda x: x[indices], tree)


def scattered(tokens, places):
    """`tokens` [B, t] at `places` [t] of a batch of other tokens, and the mask of them."""
    padded, mask = random_tokens(seed=5), np.zeros((B, T), bool)
    padded[:, places], mask[:, places] = tokens, True
    return padded, mask


@pytest.mark.parametrize(
    "kind", ["both", "parallel", pytest.param("topk", marks=pytest.mark.slow), "bare one"]
)
@in_float64
@given(st.sets(st.integers(0, T - 1), min_size=4, max_size=4))
@example({0, 1, 2, 3})
@example({3, 4, 5, 6})
def test_masked_words_are_as_if_absent_wherever_they_stand(kind, places):
    """A text's class would depend on how long the other texts of its batch are. Reading from
    the end meets padding first, and must pass over it; what the padding holds does not
    matter. The compact text is read step by step, whatever the form."""
    compact = "both" if kind == "parallel" else kind
    tokens = random_tokens(length=4)
    expected, state, aux = run(compact, tokens)
    logits, after, spent = run(kind, *scattered(tokens, sorted(places)))
    np.testing.assert_allclose(logits, expected, atol=1e-9)
    chex.assert_trees_all_close(after, state, atol=1e-9)
    for name in ("balance_loss", "z_loss", "usage", "expected_share"):
        chex.assert_trees_all_close(getattr(spent, name), getattr(aux, name), rtol=1e-9)


@in_float64
def test_a_text_of_one_word_among_longer_ones():
    """The shortest text is an edge of every pooling: mean, maximum and attention are one. By
    itself it is read without a loop over time."""
    tokens = random_tokens()
    among = run("both", tokens, np.arange(T) < np.array([[1], [T], [3]]))[0]
    assert np.isfinite(among).all()
    alone = run("both", tokens[:1, :1])[0]
    np.testing.assert_allclose(among[:, :1], alone, atol=1e-9)


@each_direction
@in_float64
def test_texts_do_not_see_each_other(kind):
    """Neither memory, nor experts, nor the directions of two texts may be mixed."""
    tokens, mask = random_tokens(), np.ones((B, T), bool)
    before, state, _ = run(kind, tokens)
    changed = tokens.copy()
    changed[1] = random_tokens(1, seed=9)[0]
    mask[1, 3:] = False
    others, readings = (
        np.array([0, 2]),
        np.array([0, 2] if kind == "bare one" else [0, 2, 3, 5]),
    )
    for arguments in ((changed,), (tokens, mask)):
        after, state_after, _ = run(kind, *arguments)
        np.testing.assert_array_equal(after[:, others], before[:, others])
        assert (np.abs(after[:, 1] - before[:, 1]).max(axis=-1) > 1e-3).all()
        chex.assert_trees_all_equal(
            *(pick(s, slice(None), readings) for s in (state, state_after))
        )


@in_float64
def test_members_do_not_see_each_other():
    """An ensemble whose members share anything but the text is not one."""
    tokens, params = random_tokens(), random_params("both")
    before, state, _ = run("both", tokens)
    assert np.abs(before[0] - before[1]).max() > 1e-3
    changed = jax.tree.map(lambda x: np.stack([x[0], x[0]]), params)
    after, state_after, _ = run("both", tokens, params=changed)
    chex.assert_trees_all_equal(
        *(pick((x, s), 0) for x, s in ((before, state), (after, state_after)))
    )
    chex.assert_trees_all_equal(pick((after, state_after), 0), pick((after, state_after), 1))


@each_direction
@in_float64
def test_the_order_of_words_matters(kind):
    """Otherwise it is a bag of words, and "not good, bad" is "not bad, good"."""
    tokens = random_tokens()
    before = run(kind, tokens)[0]
    for order in ([1, 0, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 6, 5], [6, 5, 4, 3, 2, 1, 0]):
        after = run(kind, tokens[:, order])[0]
        assert (np.abs(after - before).max(axis=-1) > 1e-4).all()


@each_direction
@in_float64
def test_every_word_and_piece_matters(kind):
    """A first or last word, or a piece, that is lost would be lost in every text."""
    tokens = random_tokens()
    before = run(kind, tokens)[0]
    for t in range(T):
        for place, count in enumerate((VOCABULARY, PIECES, PIECES)):
            changed = tokens.copy()
            changed[:, t, place] = 1 + changed[:, t, place] % (count - 1)
            after = run(kind, changed)[0]
            assert (np.abs(after - before).max(axis=-1) > 1e-5).all(), (t, place)


def exchanged(params):
    """Parameters in which the two directions have changed places."""

    def swap(x):  # [N, n·2·D, …]: the D of each direction in turn
        halves = x.reshape(N, -1, 2, D, *x.shape[2:])
        return halves[:, :, ::-1].reshape(x.shape)

    members = params["params"]["members"]
    head = members["head"] | {"kernel": swap(members["head"]["kernel"])}
    changes = {name: jax.tree.map(swap, members[name]) for name in ("norm", "attention")}
    changes |= {"head": head, "direction": members["direction"][:, ::-1]}
    return {"params": {"members": members | changes}}


@in_float64
def test_a_text_read_backwards_exchanges_the_directions():
    """Otherwise the second direction is not the first one from the text's other end."""
    tokens, params = random_tokens(), random_params("both")
    logits, state, aux = run("both", tokens, MASK)
    other, state_other, aux_other = run(
        "both", tokens[:, ::-1], MASK[:, ::-1], exchanged(params)
    )
    np.testing.assert_allclose(other, logits, atol=1e-9)
    turned = np.roll(np.arange(2 * B), B)
    for one, two in (
        (state, state_other),
        (aux.layers[0].memory, aux_other.layers[0].memory),
    ):
        chex.assert_trees_all_close(pick(two, slice(None), turned), one, atol=1e-9)
    chex.assert_trees_all_close(aux_other.usage, aux.usage, rtol=1e-9)


@in_float64
def test_each_direction_sees_what_it_has_read():
    """A direction that sees ahead does what the other is for. Read forwards, a changed word
    changes what follows; from the end, what stands before it."""
    tokens = random_tokens()
    decisions = lambda tokens: run("both", tokens)[2].layers[0].expert_logits
    before = decisions(tokens)
    assert before.shape == (N, 2 * B, T, small.EASY["num_experts"])
    for t in range(T):
        changed = tokens.copy()
        changed[:, t, 0] = 1 + changed[:, t, 0] % (VOCABULARY - 1)
        moved = np.abs(decisions(changed) - before).max(axis=-1) > 1e-9
        forwards, backwards = moved[:, :B], moved[:, B:, ::-1]
        np.testing.assert_array_equal(forwards, np.broadcast_to(np.arange(T) >= t, (N, B, T)))
        np.testing.assert_array_equal(backwards, np.broadcast_to(np.arange(T) <= t, (N, B, T)))


@pytest.mark.parametrize("kind", ["bare", "bare one"])
@in_float64
def test_pooling_by_hand(kind):
    """Otherwise words are weighed wrongly. A controller that takes nothing in passes its
    input on, so that logits follow from word vectors alone."""
    params = jax.tree.map(np.copy, random_params(kind))
    controller = params["params"]["members"]["layers_0"]["controller"]
    controller["input"] = jax.tree.map(np.zeros_like, controller["input"])
    tokens = random_tokens()
    mask = np.random.default_rng(1).random((B, T)) < 0.6
    mask[:, 2] = True
    logits, _, aux = run(kind, tokens, mask, params)
    for member in range(N):
        p = pick(params["params"]["members"], member)
        expected = [by_hand(p, text[live]) for text, live in zip(tokens, mask, strict=True)]
        np.testing.assert_allclose(logits[member], expected, atol=1e-9)
    for nothing in (aux.balance_loss, aux.z_loss, aux.dropped):
        assert nothing.shape == ()
        assert nothing == 0


def by_hand(p, tokens):
    """The logits of one text without padding, of a model whose layers pass their input on."""
    features = []
    for word, *pieces in tokens:
        x = p["embed"]["words"]["embedding"][word]
        own = [p["embed"]["pieces"]["embedding"][piece] for piece in pieces if piece]
        if own:
            x = x + np.mean(own, axis=0) @ p["embed"]["project"]["kernel"]
        if "direction" in p:
            x = np.concatenate([x + direction[0, 0] for direction in p["direction"]])
        features.append(x / np.sqrt(np.mean(x**2) + 1e-6) * p["norm"]["scale"])
    features = np.array(features)
    weights = np.exp(features @ p["attention"]["kernel"])
    attended = (weights * features).sum(axis=0) / weights.sum()
    pooled = np.concatenate([features.mean(axis=0), features.max(axis=0), attended])
    return pooled @ p["head"]["kernel"] + p["head"]["bias"]


@pytest.mark.parametrize("kind", ["both", "topk"])
@in_float64
def test_losses_are_means_and_usage_is_a_sum(kind):
    """The budget would count a part of what is spent; members' losses would outweigh that of
    the task."""
    _, _, aux = run(kind, random_tokens(), MASK)
    (layer,) = aux.layers
    assert abs(layer.experts.balance_loss[0] - layer.experts.balance_loss[1]) > 1e-6
    np.testing.assert_allclose(aux.balance_loss, np.mean(layer.experts.balance_loss))
    np.testing.assert_allclose(aux.z_loss, np.mean(layer.experts.z_loss))
    np.testing.assert_allclose(aux.expected_share, np.mean(layer.expected_share))
    np.testing.assert_allclose(aux.penalty, np.mean(layer.penalty))
    assert aux.dropped == 0
    words, flops = N * 2 * MASK.sum(), small.layer().flops  # members, directions
    np.testing.assert_allclose(aux.usage.possible, words * np.array(flops))
    assert aux.usage.counts.sum() == words
    computed, live = np.asarray(layer.experts.computed), np.concatenate([MASK, MASK[:, ::-1]])
    assert aux.usage.load.sum() == computed.sum()
    np.testing.assert_allclose(aux.usage.experts, computed.sum() / 3 * flops.experts)
    for part in ("writes", "reads"):
        gates = np.asarray(getattr(layer.memory, part))[:, live]
        on = gates.mean(axis=-1).sum()
        np.testing.assert_allclose(getattr(aux.usage, part), on * getattr(flops, part))
        assert on == words if kind == "topk" else 0 < on < words
    if kind == "topk":
        np.testing.assert_allclose(aux.usage.experts, words * 2 / 3 * flops.experts)
    else:
        assert computed.sum() < 2 * words


@pytest.mark.parametrize("kind", ["both", "one"])
def test_shapes_and_types(kind):
    """A state of another batch would be broadcast; logits that are no float32 are a slip."""
    net, readings = classifier(kind), B if kind == "one" else 2 * B
    start = jax.eval_shape(lambda p: net.apply(p, B, method="initial_state"), shapes(kind))
    logits, state, aux = jax.eval_shape(net.apply, shapes(kind), random_tokens())
    assert (logits.shape, logits.dtype) == ((N, B, CLASSES), jnp.float32)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, state)
    assert {leaf.shape[:2] for leaf in jax.tree.leaves(state)} == {(N, readings)}
    (layer,) = aux.layers
    assert {leaf.shape[:3] for leaf in jax.tree.leaves(layer.memory)} == {(N, readings, T)}
    assert layer.experts.indices.shape == (N, readings, T, 2)
    assert (aux.usage.load.shape, aux.usage.counts.shape) == ((3,), (2 + 1,))
    spent = aux.usage._replace(load=(), counts=())
    sums = (aux.balance_loss, aux.z_loss, aux.expected_share, spent)
    assert {(x.shape, x.dtype) for x in jax.tree.leaves(sums)} == {((), jnp.dtype("float32"))}
    assert (aux.dropped.shape, aux.dropped.dtype) == ((), jnp.int32)


@in_float64
def test_a_fresh_state_and_no_padding_are_the_default():
    """Whoever hands neither over must get the same answer."""
    net, tokens = classifier("bare"), random_tokens()

    def explicit(params):
        state = net.apply(params, B, method="initial_state")
        return net.apply(params, tokens, state, jnp.ones((B, T), bool))[0]

    implicit = lambda params: net.apply(params, tokens)[0]
    got = jax.jit(lambda p: (explicit(p), implicit(p)), compiler_options=QUICK)(
        random_params("bare")
    )
    np.testing.assert_array_equal(*got)
