"""Where pointers go on a ring, on a loop and on a stack, by hand. Axes: B batch, T time."""

import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.nn.heads import Loop, Ring, Stack
from tests.nn.heads import one_head


def test_pointers_of_a_ring_start_by_writing_ahead_and_reading_in_place():
    """The start from which copying is learned: one slot a token, and none where masked."""
    net, z = one_head.sized(Ring(1)), np.zeros((1, 5, 4))
    mask, params = [[True, True, False, True, True]], one_head.initial(net)
    output = one_head.run(net, params, one_head.Inputs(z, mask))
    trace = output.trace
    np.testing.assert_array_equal(trace.write_pointer[0, :, 0], [1, 2, 2, 3, 4])
    np.testing.assert_array_equal(trace.read_pointer[0, :, 0], [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(trace.write.indices[0, :, 0, 0], [1, 2, 2, 3, 4])
    np.testing.assert_array_equal(trace.read.indices[0, :, 0], [[0, 1]] * 5)
    assert (output.state.write, output.state.read) == (4, 0)
    # softmax(-4, -2, 4): a mean shift of (e^4 - e^-4) / (e^4 + e^-2 + e^-4) = 0.9969.
    soft = one_head.run(net, params, one_head.Inputs(z, mask), hardness=0.0)
    np.testing.assert_allclose(soft.trace.write_pointer[0, -1, 0], 4 * 0.9969, atol=1e-3)


@pytest.mark.parametrize("kind", [Ring, Loop, Stack])
def test_every_token_moves_the_pointers_of_a_new_model_alike(kind):
    """So that a search follows what pays, not the tokens that initial values favour."""
    net, (z, mask) = one_head.sized(kind(2)), one_head.random_inputs()
    trace = one_head.run(
        net, one_head.initial(net), one_head.Inputs(z, np.ones_like(mask)), hardness=0.0
    ).trace
    for pointer in (trace.write_pointer, trace.read_pointer):
        first = np.broadcast_to(pointer[:1, :, :1], pointer.shape)
        np.testing.assert_allclose(pointer, first, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_hardness_may_differ_between_examples():
    """Each example must be addressed as it would be under its own hardness."""
    net, (z, mask) = one_head.sized(Ring(2)), one_head.random_inputs()
    params = one_head.drawn(net)
    positions = lambda hardness: one_head.run(
        net, params, one_head.Inputs(z, mask), hardness=hardness
    ).trace[3]
    mixed = positions(jnp.array([0.0, 1.0]))
    for example, hardness in enumerate((0.0, 1.0)):
        np.testing.assert_allclose(mixed[example], positions(hardness)[example])
    assert (mixed[1] == np.round(mixed[1])).all()
    assert (np.abs(mixed[0] - np.round(mixed[0])) > 1e-3).any()


@pytest.mark.parametrize("sharpness", [1e-3, 0.7, 200.0])
def test_sharpness_of_any_size_is_finite(sharpness):
    """A pointer between two slots must address both, not divide nothing by nothing."""
    net, z = one_head.sized(Ring(1, sharpness=sharpness)), np.zeros((1, 3, 4), np.float32)
    params = one_head.initial(net)
    # Odds 1 : 1 of the shifts 0 and +1 put the first position at 0.5.
    params["projections"]["head_write_pointer"]["bias"] = jnp.array([-99.0, 0.0, 0.0, 0.0])
    trace = one_head.run(net, params, one_head.Inputs(z), hardness=0.0).trace
    np.testing.assert_allclose(trace.write_pointer[0, :, 0], [0.5, 1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(trace.write.weights[0, 0, 0], [0.5**0.5] * 2, rtol=1e-4)
    assert np.isfinite(trace.write.weights).all()


@pytest.mark.usefixtures("float64")
def test_the_penalty_is_of_shifts():
    """The mean over heads and pointers, of how far each shift is from whole."""
    net, (z, mask) = one_head.sized(Ring(2)), one_head.random_inputs()
    params = one_head.drawn(net)
    trace = one_head.run(net, params, one_head.Inputs(z, mask), hardness=0.0).trace
    positions = np.stack([trace.write_pointer, trace.read_pointer], axis=2)
    start = np.zeros((len(z), 1, 2, 2))
    shifts = np.diff(np.concatenate([start, positions], axis=1), axis=1)
    expected = 2 * np.abs(shifts - np.round(shifts)).mean(axis=(2, 3))
    penalty = one_head.run(net, params, one_head.Inputs(z, mask)).penalty
    np.testing.assert_allclose(penalty[mask], expected[mask], atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_masked_tokens_do_not_write():
    """And strength is 0 where the gate is closed, else in (0, 1)."""
    net, (z, mask) = one_head.sized(Ring(1)), one_head.random_inputs()
    opened = np.random.default_rng(3).random((2, 6, 1)) < 0.5
    write = one_head.gate(mask, 1, opened)
    strength = one_head.run(
        net, one_head.drawn(net), one_head.Inputs(z, mask, write=write)
    ).trace.strength
    assert (strength[~mask] == 0).all()
    assert ((strength > 0) == opened * mask[..., None]).all()
    assert (strength < 1).all()


def on_a_loop(*features, mask=None, max_wraps=2):
    """What one head does on a loop: features of z, [T, 4], step its write pointer, its read
    pointer forwards and backwards, and close its write gate."""
    z = np.array(features, np.float32)[None]
    mask = np.ones(z.shape[:2], bool) if mask is None else np.array(mask, bool)[None]
    net = one_head.sized(Loop(1, max_wraps=max_wraps), num_slots=9)
    params = one_head.zeros(net)
    projections = params["projections"]
    projections["head_write_pointer"]["kernel"][0] = [-50, 0, 50, 0]
    projections["head_read_pointer"]["kernel"][1] = [-50, 0, 50, 0]
    projections["head_read_pointer"]["kernel"][2] = [50, 0, -50, 0]
    params["it"]["wraps"]["kernel"][:] = np.eye(max_wraps + 1, 4)
    write = one_head.gate(mask, 1, z[..., 3:] == 0)
    return one_head.run(net, params, one_head.Inputs(z, mask, write=write))


WRITE, READ, BACK = (1, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1)


def test_reads_go_round_what_was_written_on_a_loop():
    """Three writes, then seven reads: 1, 2, 3, 1, 2, 3, 1. A wrap is flagged from the start of
    the loop on, and the next from where the pointer has come round."""
    output = on_a_loop(*[WRITE] * 3, *[READ] * 7)
    trace = output.trace
    np.testing.assert_array_equal(trace.write_pointer[0, :, 0], [1, 2, 3] + [3] * 7)
    read = [0, 0, 0, 1, 2, 3, 1, 2, 3, 1]
    np.testing.assert_array_equal(trace.read_pointer[0, :, 0], read)
    np.testing.assert_array_equal(trace.read.indices[0, 3:, 0, 0], [1, 2, 3, 1, 2, 3, 1])
    expected = [[0, 0, 0]] * 3 + [[1, 0, 0]] * 3 + [[1, 1, 0]] * 3 + [[1, 1, 1]]
    np.testing.assert_array_equal(output.residual[0, :, :3], expected)
    assert (output.state.write, output.state.read) == (3, 7)


def test_write_pointers_of_a_loop_stay_where_the_gate_is_closed():
    """Else a loop would have slots in it that hold nothing."""
    closed = (1, 0, 0, 1)
    trace = on_a_loop(WRITE, closed, WRITE, closed, closed, WRITE).trace
    np.testing.assert_array_equal(trace.strength[0, :, 0] > 0, [1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(trace.write_pointer[0, :, 0], [1, 1, 2, 2, 2, 3])


def test_masked_tokens_move_no_pointer_of_a_loop():
    output = on_a_loop(WRITE, WRITE, READ, READ, mask=(1, 0, 0, 1))
    np.testing.assert_array_equal(output.trace.write_pointer[0, :, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(output.trace.read_pointer[0, :, 0], [0, 0, 0, 1])
    assert (output.state.write, output.state.read) == (1, 1)


def test_reads_before_a_loop_are_of_what_was_never_written():
    """A pointer that goes back from the start must not come out at the loop's end."""
    output = on_a_loop(*[WRITE] * 3, BACK, BACK, READ, READ, READ)
    np.testing.assert_array_equal(output.trace.read_pointer[0, 3:, 0], [-1, -2, -1, 0, 1])
    np.testing.assert_array_equal(output.trace.read.indices[0, 3:, 0, 0], [8, 7, 8, 0, 1])
    np.testing.assert_array_equal(output.residual[0, 3:, 0], [0, 0, 0, 0, 1])
    assert output.state.read == 1


PUSH, POP, REST = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def on_a_stack(*features, mask=None, state=None):
    """What one head does on a stack: features of z push, pop, and rest without a write."""
    z = np.array(features, np.float32)[None]
    mask = np.ones(z.shape[:2], bool) if mask is None else np.array(mask, bool)[None]
    net = one_head.sized(Stack(1), width=3, num_slots=9, active_slots=3)
    params = one_head.zeros(net, width=3)
    pointers = {name for name in params["projections"] if "pointer" in name}
    assert pointers == {"head_top_pointer"}
    params["projections"]["head_top_pointer"]["kernel"][0] = [-50, 0, 50, 0]
    params["projections"]["head_top_pointer"]["kernel"][1] = [50, 0, -50, 0]
    write = one_head.gate(mask, 1, z[..., :1] == 1)
    return one_head.run(net, params, one_head.Inputs(z, mask, state, write=write))


def test_a_stack_is_read_at_its_top():
    """Pops move its pointer though nothing is written, and one of an empty stack does nothing:
    what is pushed after it is on top of nothing."""
    acts = PUSH, PUSH, POP, POP, POP, PUSH, REST, PUSH
    output = on_a_stack(*acts)
    trace, top = output.trace, [1, 2, 1, 0, 0, 1, 1, 2]
    np.testing.assert_array_equal(trace.write_pointer[0, :, 0], top)
    np.testing.assert_array_equal(trace.read_pointer[0, :, 0], top)
    np.testing.assert_array_equal(trace.strength[0, :, 0] > 0, [act == PUSH for act in acts])
    np.testing.assert_array_equal(trace.read.indices, trace.write.indices)
    np.testing.assert_array_equal(trace.read.weights, trace.write.weights)
    np.testing.assert_array_equal(trace.read.indices[0, :, 0, 1], top)
    assert output.residual is None
    assert (output.state.write, output.state.read) == (2, 2)


def test_a_stack_goes_on_in_the_next_segment():
    """And padding moves nothing."""
    first = on_a_stack(PUSH, PUSH, POP, PUSH, mask=(1, 1, 0, 1)).state
    assert (first.write, first.read) == (3, 3)
    trace = on_a_stack(POP, PUSH, PUSH, state=first).trace
    np.testing.assert_array_equal(trace.write_pointer[0, :, 0], [2, 3, 4])
