"""What the whole model must keep, whatever its parameters: causality, isolation, masking.

Axes: B batch, T time. Decisions are discrete, so inputs are changed rather than differentiated.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import dispatch
from tests.nn import small

B, T = 3, 8
WHOLE = jnp.ones((B, T), bool)
MODES = {"eval": (False, 1.0), "train": (True, 0.5)}
pairwise = pytest.mark.parametrize(
    ("time", "mode", "routing"),
    [
        ("scan", "eval", "dynamic"),
        ("scan", "train", "topk"),
        ("parallel", "eval", "topk"),
        ("parallel", "train", "dynamic"),
    ],
)
"""Any two of a form, a mode and a routing meet."""
either = pytest.mark.parametrize(
    ("time", "mode", "routing"),
    [
        ("scan", "eval", "dynamic"),
        ("parallel", "train", "topk"),
        pytest.param("scan", "eval", "topk", marks=pytest.mark.slow),
        pytest.param("parallel", "train", "dynamic", marks=pytest.mark.slow),
    ],
)
"""Every form, mode and routing; the other pairs of them are slow."""


def crowded(time, routing):
    """A model whose experts have room for half of an even share, so that training drops, and
    where dynamic routing explores closed experts too."""
    return small.of_form(time, routing=routing, capacity_factor=0.5, exploration=0.3)


def ring_slots(state):
    """Of the first layer, [B, H, S, P]."""
    return state.layers[0].memory[0].memory


def runner(net, mode):
    """Parameters, a fresh state, and (tokens, mask) → (logits, settled state, aux)."""
    tokens = small.random_tokens(B, T)
    params = small.random_params(net)
    state = small.compiled_start(net, B)(params)
    run = small.compiled(net, *MODES[mode])

    def apply(tokens, mask=WHOLE):
        logits, after, aux = run(params, tokens, state, mask)
        return logits, small.settled(after), aux

    return apply, tokens, small.settled(state)


@pairwise
@pytest.mark.usefixtures("float64")
def test_a_token_changes_no_output_before_it(time, mode, routing):
    """A look into the future would make training worthless; here experts are crowded, so a
    later token could also take an earlier one's place."""
    apply, tokens, _ = runner(crowded(time, routing), mode)
    before, _, aux = apply(tokens)
    assert (aux.dropped > 0) == (mode == "train")
    for t in range(T):
        changed = tokens.copy()
        changed[:, t] = (changed[:, t] + 1 + np.arange(B)) % small.VOCABULARY
        after, _, _ = apply(changed)
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (np.abs(after[:, t] - before[:, t]).max(axis=-1) > 1e-3).all()


@pairwise
@pytest.mark.usefixtures("float64")
def test_examples_do_not_see_each_other(time, mode, routing):
    """Neither memory nor expert room may be shared over the batch."""
    apply, tokens, _ = runner(crowded(time, routing), mode)
    changed = tokens.copy()
    changed[1] = (changed[1] + 1 + np.arange(T)) % small.VOCABULARY
    mask = WHOLE.at[1, 5:].set(False)
    before, state_before, _ = apply(tokens)
    for after, state_after, _ in (apply(changed), apply(tokens, mask)):
        others = jnp.array([0, 2])
        np.testing.assert_array_equal(after[others], before[others])
        chex.assert_trees_all_equal(*pick((state_before, state_after), others))
        assert not np.allclose(ring_slots(state_after)[1], ring_slots(state_before)[1])


def pick(tree, examples):
    return jax.tree.map(lambda x: x[examples], tree)


PADDING = np.array(
    [
        [0, 0, 0, 0, 1, 1, 1, 1],  # left
        [1, 1, 0, 0, 1, 0, 0, 1],  # middle
        [1, 1, 1, 1, 0, 0, 0, 0],  # right
    ],
    bool,
)


@either
@pytest.mark.usefixtures("float64")
def test_padding_is_as_good_as_absent(time, mode, routing):
    """Padded steps, wherever they stand, must not move any part of the state."""
    net = small.model(1, time=time, routing=routing)
    apply, tokens, _ = runner(net, mode)
    padded, state, aux = apply(tokens, jnp.asarray(PADDING))
    tokens = tokens[PADDING].reshape(B, -1)
    params = small.random_params(net)
    fresh = small.compiled_start(net, B)(params)
    run = small.compiled(net, *MODES[mode])
    compact, expected, bare = run(params, tokens, fresh, jnp.ones(tokens.shape, bool))
    np.testing.assert_allclose(padded[PADDING].reshape(compact.shape), compact, atol=1e-9)
    chex.assert_trees_all_close(state, small.settled(expected), atol=1e-9)
    for name in (
        "balance_loss",
        "z_loss",
        "dropped",
        "usage",
        "expected_share",
        "penalty",
    ):
        chex.assert_trees_all_close(getattr(aux, name), getattr(bare, name), rtol=1e-9)


@pairwise
@pytest.mark.usefixtures("float64")
def test_the_content_of_padding_does_not_matter(time, mode, routing):
    """In crowded experts too: padding takes no room."""
    apply, tokens, _ = runner(crowded(time, routing), mode)
    other = np.where(PADDING, tokens, (tokens + 3) % small.VOCABULARY)
    mask = jnp.asarray(PADDING)
    (before, state_before, aux), (after, state_after, aux_after) = (
        apply(x, mask) for x in (tokens, other)
    )
    np.testing.assert_allclose(before[PADDING], after[PADDING], atol=1e-12)
    chex.assert_trees_all_close(state_before, state_after, atol=1e-12)
    assert aux.dropped == aux_after.dropped


@either
@pytest.mark.usefixtures("float64")
def test_pure_padding_leaves_the_state_untouched(time, mode, routing):
    """An example that has ended must keep its state while the others go on."""
    apply, tokens, fresh = runner(small.model(1, time=time, routing=routing), mode)
    _, state, aux = apply(tokens, WHOLE.at[1].set(False))
    chex.assert_trees_all_equal(*pick((state, fresh), 1))
    assert not np.allclose(ring_slots(state)[0], ring_slots(fresh)[0])
    assert aux.dropped == 0


@pytest.mark.parametrize(("mode", "routing"), [("eval", "topk"), ("train", "dynamic")])
@pytest.mark.usefixtures("float64")
def test_losses_and_usage_are_those_of_the_layers(mode, routing):
    """The mean over layers for losses, the sum for drops and for usage."""
    apply, tokens, _ = runner(crowded("scan", routing), mode)
    mask = jnp.asarray(PADDING)
    _, _, aux = apply(tokens, mask)
    experts = [layer.experts for layer in aux.layers]
    balance = []
    for layer in aux.layers:
        logits, chosen = layer.expert_logits, layer.experts
        every = jnp.broadcast_to(mask[..., None], chosen.indices.shape)
        # What evaluation computes is all that is live; training may also drop.
        live = every if routing == "topk" else chosen.computed
        balance.append(dispatch.load_balance_loss(logits, chosen.indices, live, mask))
    assert abs(balance[0] - balance[1]) > 1e-3
    if routing == "topk" or mode == "eval":
        np.testing.assert_allclose(aux.balance_loss, np.mean(balance), rtol=1e-9)
    np.testing.assert_allclose(
        aux.balance_loss, np.mean([e.balance_loss for e in experts]), rtol=1e-9
    )
    np.testing.assert_allclose(aux.z_loss, np.mean([e.z_loss for e in experts]), rtol=1e-9)
    assert (aux.z_loss > 0) == (routing == "topk")
    assert aux.dropped == sum(e.dropped for e in experts)
    assert (aux.dropped > 0) == (mode == "train")
    flops = small.layer().flops
    np.testing.assert_allclose(aux.usage.possible, 24 * np.array(flops))
    for part in ("experts", "writes", "reads"):
        spent = sum(getattr(layer.usage, part) for layer in aux.layers)
        np.testing.assert_allclose(getattr(aux.usage, part), spent, rtol=1e-9)
    if routing == "topk":
        # 12 tokens in each of two layers, with 2 of 3 experts and every access.
        computed = 2 * 24 - aux.dropped
        np.testing.assert_allclose(aux.usage.experts, computed / 3 * flops.experts)
        np.testing.assert_allclose(aux.usage.writes, 24 * flops.writes)
        np.testing.assert_allclose(aux.usage.reads, 24 * flops.reads)


def test_wrong_tokens_and_masks_are_refused():
    """A mask of floats or of another shape would broadcast into a wrong state."""
    net, tokens = small.model(), jnp.zeros((2, 4), int)
    for arguments in (
        (tokens[0],),
        (tokens.astype(float),),
        (tokens, None, jnp.ones((2, 1), bool)),
        (tokens, None, jnp.ones((2, 4))),
    ):
        with pytest.raises(AssertionError):
            jax.eval_shape(net.init, jax.random.key(0), *arguments)
