"""Where pointers go on a loop and on a stack, by hand. Axes: B batch, T time."""

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.core.budget import Prices
from mocanet_jax.nn.router import Router

COSTS = Prices(0.4, 0.3, 0.2)


def on_a_loop(*features, mask=None, max_laps=2):
    """What one head does on a loop, told to step its write pointer and its read pointer by one
    and its write gate to shut by features of z: [T, 4] of write, read, back, shut."""
    z = jnp.array(features, float)[None]
    mask = jnp.ones(z.shape[:2], bool) if mask is None else jnp.array(mask, bool)[None]
    net = Router(0, 1, 0, 9, 2, 1.0, 0.7, dynamic=True, tape="loop", max_laps=max_laps)
    start = net.initial_state(1, 4)
    arguments = z, mask, start, 9, 1.0, COSTS
    shapes = jax.eval_shape(lambda key: net.init(key, *arguments), jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
    params["params"]["write_pointer"]["kernel"][0] = [-50, 0, 50, 0]
    params["params"]["read_pointer"]["kernel"][1] = [-50, 0, 50, 0]
    params["params"]["read_pointer"]["kernel"][2] = [50, 0, -50, 0]
    params["params"]["write_gate"]["bias"][:] = 2
    params["params"]["write_gate"]["kernel"][3] = -50
    decided, state = jax.jit(net.apply, static_argnums=4)(params, *arguments)
    return decided, state


WRITE, READ, BACK = (1, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1)


def test_reads_go_round_what_was_written_on_a_loop():
    """Three writes, then seven reads: 1, 2, 3, 1, 2, 3, 1. A lap is told from the start of the
    loop on, and the next from where the pointer has come round."""
    decided, state = on_a_loop(*[WRITE] * 3, *[READ] * 7)
    write, read = decided.positions[0, :, :, 0].T
    np.testing.assert_array_equal(write, [1, 2, 3] + [3] * 7)
    np.testing.assert_array_equal(read, [0, 0, 0, 1, 2, 3, 1, 2, 3, 1])
    np.testing.assert_array_equal(decided.read.indices[0, 3:, 0, 0], [1, 2, 3, 1, 2, 3, 1])
    expected = [[0, 0, 0]] * 3 + [[1, 0, 0]] * 3 + [[1, 1, 0]] * 3 + [[1, 1, 1]]
    np.testing.assert_array_equal(decided.laps[0, :, 0], expected)
    assert (state.write_pointer, state.read_pointer) == (3, 7)


def test_write_pointers_of_a_loop_stay_where_the_gate_is_shut():
    """Told to step at every token: else a loop would have slots in it that hold nothing."""
    shut = (1, 0, 0, 1)
    decided, _ = on_a_loop(WRITE, shut, WRITE, shut, shut, WRITE)
    np.testing.assert_array_equal(decided.writes[0, :, 0], [1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(decided.positions[0, :, 0, 0], [1, 1, 2, 2, 2, 3])


def test_masked_tokens_move_no_pointer_of_a_loop():
    decided, state = on_a_loop(WRITE, WRITE, READ, READ, mask=(1, 0, 0, 1))
    np.testing.assert_array_equal(decided.positions[0, :, 0, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(decided.positions[0, :, 1, 0], [0, 0, 0, 1])
    assert (state.write_pointer, state.read_pointer) == (1, 1)


def test_reads_before_a_loop_are_of_what_was_never_written():
    """A pointer that goes back from the start must not come out at the loop's end."""
    decided, state = on_a_loop(*[WRITE] * 3, BACK, BACK, READ, READ, READ)
    np.testing.assert_array_equal(decided.positions[0, 3:, 1, 0], [-1, -2, -1, 0, 1])
    np.testing.assert_array_equal(decided.read.indices[0, 3:, 0, 0], [8, 7, 8, 0, 1])
    np.testing.assert_array_equal(decided.laps[0, 3:, 0, 0], [0, 0, 0, 0, 1])
    assert state.read_pointer == 1


PUSH, POP, REST = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def on_a_stack(*features, mask=None, state=None):
    """What one head does on a stack, told by features of z to push, to pop and to rest without
    a write: the decision and the next state."""
    z = jnp.array(features, float)[None]
    mask = jnp.ones(z.shape[:2], bool) if mask is None else jnp.array(mask, bool)[None]
    net = Router(0, 1, 0, 9, 3, 1.0, 0.7, dynamic=True, tape="stack")
    arguments = z, mask, state or net.initial_state(1, 3), 9, 1.0, COSTS
    shapes = jax.eval_shape(lambda key: net.init(key, *arguments), jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
    assert {name for name in params["params"] if "pointer" in name} == {"top_pointer"}
    params["params"]["top_pointer"]["kernel"][0] = [-50, 0, 50, 0]
    params["params"]["top_pointer"]["kernel"][1] = [50, 0, -50, 0]
    params["params"]["write_gate"]["kernel"][:, 0] = [2, -50, -50]
    return jax.jit(net.apply, static_argnums=4)(params, *arguments)


def test_a_stack_is_read_at_its_top():
    """Pops move its pointer though nothing is written, and one of an empty stack does nothing:
    what is pushed after it is on top of nothing."""
    acts = PUSH, PUSH, POP, POP, POP, PUSH, REST, PUSH
    decided, state = on_a_stack(*acts)
    top = [1, 2, 1, 0, 0, 1, 1, 2]
    np.testing.assert_array_equal(decided.positions[0, :, :, 0].T, [top, top])
    np.testing.assert_array_equal(decided.writes[0, :, 0], [act == PUSH for act in acts])
    np.testing.assert_array_equal(decided.read.indices, decided.write.indices)
    np.testing.assert_array_equal(decided.read.weights, decided.write.weights)
    np.testing.assert_array_equal(decided.read.indices[0, :, 0, 1], top)
    assert decided.laps is None
    assert (state.write_pointer, state.read_pointer) == (2, 2)


def test_a_stack_goes_on_in_the_next_segment():
    """And padding moves nothing."""
    _, first = on_a_stack(PUSH, PUSH, POP, PUSH, mask=(1, 1, 0, 1))
    assert (first.write_pointer, first.read_pointer) == (3, 3)
    decided, _ = on_a_stack(POP, PUSH, PUSH, state=first)
    np.testing.assert_array_equal(decided.positions[0, :, 0, 0], [2, 3, 4])
