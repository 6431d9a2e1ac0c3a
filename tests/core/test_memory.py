"""What a memory must do, in each of its three forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.memory import Accesses, MemoryState
from tests.core.naive_memory import run_step


def spread(form):
    """`form` with the accesses as arguments of their own."""
    return lambda state, *accesses, **named: form(state, Accesses(*accesses, **named))


FORMS = {
    "step": spread(jax.jit(run_step)),
    "recurrent": spread(jax.jit(memory.recurrent)),
    "chunked": spread(jax.jit(partial(memory.chunked, chunk_size=2))),
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def sequence(slots, weights):
    """An address [1, T, 1, A] for every time step, from rows of slots and of weights."""
    indices, weights = jnp.array(slots, jnp.int32), jnp.array(weights, jnp.float32)
    return Address(indices[None, :, None], weights[None, :, None])


def column(values):
    """[T] or [T, P] -> [1, T, 1, ...]."""
    return jnp.array(values, jnp.float32)[None, :, None]


def four_slots():
    return memory.initial_memory(jnp.arange(8.0).reshape(1, 1, 4, 2))


@each_form
def test_a_written_value_is_read_back(form):
    """β = 1 and α = 1: anything else and the memory could not copy."""
    address = sequence([[0, 2], [1, 3]], [[0.6, 0.8], [0.8, 0.6]])
    value = column([[5.0, -1.0], [2.0, 7.0]])
    reads, state = form(four_slots(), address, address, value, column([1, 1]))
    np.testing.assert_allclose(reads, value, rtol=1e-6)
    # By hand: old = 0.6 (0,1) + 0.8 (4,5) = (3.2, 4.6), so δ = (1.8, -5.6).
    written = memory.content(state)[0, 0]
    np.testing.assert_allclose(written[0], [0.6 * 1.8, 1 - 0.6 * 5.6], rtol=1e-5)
    np.testing.assert_allclose(written[2], [4 + 0.8 * 1.8, 5 - 0.8 * 5.6], rtol=1e-5)


@each_form
def test_an_earlier_write_is_read_later(form):
    """Slot 1 is written first and read after writes elsewhere, over two chunks."""
    write = sequence([[1], [2], [0]], [[1], [1], [1]])
    read = sequence([[3], [2], [1]], [[1], [1], [1]])
    reads, _ = form(
        four_slots(), write, read, column([[5, 6], [7, 8], [9, 9]]), column([1] * 3)
    )
    np.testing.assert_array_equal(reads[0, :, 0], [[6, 7], [7, 8], [5, 6]])


@each_form
def test_untouched_slots_stay_bitwise_the_same(form):
    """With α = 1, nothing may drift in slots that no write names."""
    slots = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 4, 2)), jnp.float32)
    write = sequence([[1], [3], [1]], [[1], [1], [1]])
    value = column([[5, 6], [7, 8], [9, 9]])
    _, state = form(memory.initial_memory(slots), write, write, value, column([1, 0.3, 1]))
    untouched = memory.content(state)[0, 0, jnp.array([0, 2])]
    np.testing.assert_array_equal(untouched, slots[0, 0, jnp.array([0, 2])])
    assert not np.array_equal(memory.content(state)[0, 0, 1], slots[0, 0, 1])


@each_form
def test_strength_zero_changes_nothing(form):
    """With β = 0 and α = 1 a step only reads."""
    address = sequence([[0, 2], [1, 2], [3, 0]], [[0.6, 0.8]] * 3)
    value = column([[5, 6], [7, 8], [9, 9]])
    reads, state = form(four_slots(), address, address, value, column([0, 0, 0]))
    np.testing.assert_array_equal(memory.content(state), four_slots().slots)
    np.testing.assert_allclose(reads[0, 0, 0], [0.8 * 4, 0.6 * 1 + 0.8 * 5], rtol=1e-6)


@each_form
def test_retention_by_hand(form):
    """Retention decays every slot, before the write and also where nothing is written."""
    write = sequence([[0], [0], [3]], [[1], [1], [1]])
    read = sequence([[1], [0], [0]], [[1], [1], [1]])
    log_retention = jnp.log(column([0.5, 0.25, 0.5]))
    value, strength = column([[8, 8], [1, 1], [0, 0]]), column([1, 0.5, 0])
    reads, state = form(four_slots(), write, read, value, strength, log_retention)
    # Slot 1 halves from (2, 3). Slot 0 holds 8, decays to 2, moves halfway to 1: 1.5.
    np.testing.assert_allclose(reads[0, :, 0], [[1, 1.5], [1.5, 1.5], [0.75, 0.75]], rtol=1e-5)
    # Slots 1 to 3 are only decayed, by 0.5 · 0.25 · 0.5 = 1/16.
    np.testing.assert_allclose(
        memory.content(state)[0, 0, 1:], np.arange(2, 8).reshape(3, 2) / 16, rtol=1e-5
    )


@each_form
def test_zero_retention_forgets_everything_but_the_present_write(form):
    """log 0 is -inf, and a difference of two of them would be NaN."""
    write = sequence([[0], [2], [2]], [[1], [1], [1]])
    read = sequence([[0], [0], [2]], [[1], [1], [1]])
    never = jnp.full((1, 3, 1), -jnp.inf)
    value = column([[8, 8], [1, 2], [3, 4]])
    reads, state = form(four_slots(), write, read, value, column([1, 1, 1]), never)
    np.testing.assert_allclose(reads[0, :, 0], [[8, 8], [0, 0], [3, 4]], atol=1e-20)
    kept = [[0, 0], [0, 0], [3, 4], [0, 0]]
    np.testing.assert_allclose(memory.content(state)[0, 0], kept, atol=1e-20)


@each_form
def test_pending_decay_counts_without_retention(form):
    """A state may carry decay that is not yet applied to its slots; no form may lose it."""
    state = MemoryState(four_slots().slots, jnp.log(jnp.full((1, 1, 4), 0.5)))
    write, read = sequence([[0]], [[1]]), sequence([[0, 3]], [[0.6, 0.8]])
    reads, state = form(state, write, read, column([[1, 1]]), column([0.5]))
    # Slot 0 holds (0, 0.5), moves halfway to 1: (0.5, 0.75). Slot 3 holds (3, 3.5).
    np.testing.assert_allclose(reads[0, 0, 0], [0.3 + 2.4, 0.45 + 2.8], rtol=1e-5)
    np.testing.assert_allclose(memory.content(state)[0, 0, 0], [0.5, 0.75], rtol=1e-5)


@each_form
def test_heads_and_examples_have_memories_of_their_own(form):
    """Only example 1, head 0 writes; any other memory that changes has leaked."""
    address = Address(jnp.zeros((2, 3, 2, 1), jnp.int32), jnp.ones((2, 3, 2, 1)))
    value, strength = jnp.ones((2, 3, 2, 2)), jnp.zeros((2, 3, 2)).at[1, :, 0].set(1.0)
    state = memory.initial_memory(jnp.zeros((2, 2, 4, 2)))
    reads, state = form(state, address, address, value, strength)
    written = np.zeros((2, 2, 4, 2))
    written[1, 0, 0] = 1
    np.testing.assert_array_equal(memory.content(state), written)
    np.testing.assert_array_equal(reads, np.broadcast_to(strength[..., None], reads.shape))


def arguments():
    address = sequence([[0, 1]] * 3, [[0.6, 0.8]] * 3)
    return {
        "state": four_slots(),
        "write": address,
        "read": address,
        "value": jnp.ones((1, 3, 1, 2)),
        "strength": jnp.ones((1, 3, 1)),
        "log_retention": jnp.zeros((1, 3, 1)),
    }


WRONG = {
    "state": MemoryState(jnp.ones((1, 1, 4, 2)), jnp.ones((1, 1, 5))),
    "write": Address(jnp.zeros((1, 3, 1, 2), jnp.int32), jnp.ones((1, 3, 1, 1))),
    "read": Address(jnp.zeros((1, 3, 1, 2)), jnp.ones((1, 3, 1, 2))),
    "value": jnp.ones((1, 3, 1, 3)),
    "strength": jnp.ones((1, 3, 1), int),
    "log_retention": jnp.ones((1, 3, 2)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("form", [FORMS["recurrent"], FORMS["chunked"]])
def test_wrong_shapes_and_types_are_refused(form, name):
    """Broadcasting would otherwise turn a mistake into a wrong memory."""
    form(**arguments())
    with pytest.raises(AssertionError):
        form(**arguments() | {name: WRONG[name]})


@pytest.mark.parametrize("name", WRONG)
def test_step_refuses_wrong_shapes_and_types(name):
    """As for sequences; here the time axis is absent, and a left-over one is refused too."""

    def one_token(x):
        return x if isinstance(x, MemoryState) else _first(x)

    right = {key: one_token(x) for key, x in arguments().items()}
    step = spread(memory.step)
    step(**right)
    with pytest.raises(AssertionError):
        step(**right | {name: one_token(WRONG[name])})
    if name != "state":
        with pytest.raises(AssertionError):
            step(**right | {name: arguments()[name]})


def _first(x):
    return Address(*(y[:, 0] for y in x)) if isinstance(x, Address) else x[:, 0]


@pytest.mark.parametrize("chunk_size", [0, 3, 12])
def test_chunk_size_must_be_a_power_of_two(chunk_size):
    """The block inverse doubles its blocks; other sizes would leave rows out."""
    with pytest.raises(
        ValueError, match=f"chunk_size must be a power of two, not {chunk_size}"
    ):
        spread(partial(memory.chunked, chunk_size=chunk_size))(**arguments())


def test_initial_memory_refuses_slots_without_a_batch():
    """[H, S, P] would read as [B, H, S] further on."""
    with pytest.raises(AssertionError):
        memory.initial_memory(jnp.zeros((1, 4, 2)))


@each_form
def test_a_memory_without_retention_holds_what_it_has(form):
    """It is the same memory with every retention 1, and nothing in it costs O(S)."""
    address = sequence([[0, 2], [1, 2], [3, 0]], [[0.6, 0.8]] * 3)
    value, strength = column([[5, 6], [7, 8], [9, 9]]), column([1, 0.5, 0.25])
    reads, state = form(four_slots(), address, address, value, strength)
    held = memory.initial_memory(four_slots().slots, retention=False)
    same, after = form(held, address, address, value, strength)
    assert after.log_decay is None
    np.testing.assert_allclose(same, reads, rtol=1e-6)
    np.testing.assert_allclose(memory.content(after), memory.content(state), rtol=1e-6)


@each_form
def test_a_memory_without_retention_refuses_one(form):
    """It has no place to keep the decay and would forget that it forgot."""
    held = memory.initial_memory(four_slots().slots, retention=False)
    address = sequence([[0]], [[1]])
    with pytest.raises(ValueError, match="without retention"):
        form(held, address, address, column([[5, 6]]), column([1]), column([-1]))
