"""One memory in three forms: each must give what its definition gives, and its gradient."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocanet_jax.core import memory
from tests.core.naive_memory import (
    RETENTIONS,
    Inputs,
    Shape,
    apply_form,
    naive,
    naive_gradient,
    random_problem,
    run_step,
)


def forms(chunk_size):
    return {
        "step": partial(apply_form, run_step),
        "recurrent": partial(apply_form, memory.recurrent),
        "chunked": partial(apply_form, memory.chunked, chunk_size=chunk_size),
    }


def compare(problem, functions, tolerance):
    """Values and gradients of each function of (inputs, write, read) against the definition.

    The definition is evaluated in float64 even where the functions run in float32. Errors
    are relative to the largest entry of what is compared, or to 1 where that is smaller.
    """
    rng = np.random.default_rng(1)
    at_reads = rng.normal(size=problem.inputs.value.shape)
    at_content = rng.normal(size=problem.inputs.slots.shape)

    def named(values, gradient):
        gradient = {
            f"gradient of {n}": x for n, x in gradient._asdict().items() if x is not None
        }
        return {"reads": values[0], "content": values[1]} | gradient

    def outcome(function, inputs):
        def loss(inputs):
            reads, state = function(inputs, problem.write, problem.read)
            values = reads, memory.content(state)
            scored = sum(jnp.vdot(x, jnp.asarray(y)) for x, y in zip(values, at, strict=True))
            return scored, values

        (_, values), gradient = jax.value_and_grad(loss, has_aux=True)(inputs)
        return named(values, gradient)

    at = at_reads, at_content
    reference = named(naive(*problem), naive_gradient(problem, *at))
    every = jax.jit(lambda inputs: {n: outcome(f, inputs) for n, f in functions.items()})
    for form, got in every(jax.tree.map(jnp.asarray, problem.inputs)).items():
        for name, expected in reference.items():
            scale = max(1.0, np.abs(expected).max())
            message = f"{name} of the {form} form"
            np.testing.assert_allclose(
                got[name] / scale, expected / scale, rtol=0, atol=tolerance, err_msg=message
            )


@st.composite
def shapes(draw):
    S = draw(st.integers(1, 5))
    active = st.integers(1, S)
    B, T, H, P = (draw(st.integers(1, most)) for most in (2, 9, 2, 3))
    return Shape(B, T, H, S, P, draw(active), draw(active))


CHUNKS = st.sampled_from([1, 2, 4, 16])


@pytest.mark.usefixtures("float64")
@example(Shape(1, 7, 1, 4, 3, 1, 1), "none", True, 4, 0)  # A = 1
@example(Shape(2, 5, 2, 3, 2, 3, 3), "mixed", False, 2, 1)  # A = S
@example(Shape(1, 6, 2, 1, 2, 1, 1), "one", False, 4, 2)  # S = 1
@example(Shape(1, 4, 1, 3, 2, 2, 1), "zero", True, 8, 3)
@settings(max_examples=1)
@given(shapes(), st.sampled_from(RETENTIONS), st.booleans(), CHUNKS, st.integers(0, 99))
def test_every_form_is_the_delta_rule(shape, retention, repeat, chunk_size, seed):
    """A mistake in one form, its hand-written gradient or its padding shows as a difference."""
    problem = random_problem(shape, retention, repeat, seed)
    compare(problem, forms(chunk_size), tolerance=1e-9)


@pytest.mark.parametrize(
    "retention",
    [*(pytest.param(r, marks=pytest.mark.slow) for r in ("none", "random")), "mixed"],
)
def test_every_form_is_the_delta_rule_in_float32(retention):
    """Training runs in float32: a form must not lose digits that the definition keeps."""
    problem = random_problem(Shape(2, 9, 2, 4, 3, 2, 2), retention)
    compare(problem, forms(chunk_size=4), tolerance=1e-5)


@pytest.mark.parametrize("active", [1, 3])
def test_repeated_writes_to_one_address_are_exact(active):
    """The system of a chunk then has ones below its diagonal: powers of it, as a Neumann
    product takes, reach 10^18 and leave no correct digit."""
    problem = random_problem(Shape(1, 64, 1, 4, 2, active, 2), "none", repeat=True)
    functions = forms(chunk_size=64)
    compare(problem, {name: functions[name] for name in ("recurrent", "chunked")}, 1e-5)


FORMS = {
    "step": run_step,
    "recurrent": memory.recurrent,
    "chunked": partial(memory.chunked, chunk_size=2),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("order", "cuts"),
    [
        (("step", "recurrent", "chunked"), (0, 1, 4, 8)),
        (("recurrent", "chunked", "step"), (0, 3, 4, 8)),
        (("chunked", "step", "recurrent"), (0, 3, 7, 8)),
    ],
)
@pytest.mark.parametrize("retention", ["none", "mixed"])
def test_segments_join_into_the_whole_sequence(order, cuts, retention):
    """State carried wrongly, or decay forgotten between segments, would break streaming."""

    def in_segments(inputs: Inputs, write, read):
        reads, state, sequence = [], inputs[:2], inputs[2:]
        for name, (start, stop) in zip(order, pairwise(cuts), strict=True):
            part = jax.tree.map(lambda x, i=start, j=stop: x[:, i:j], sequence)
            part = Inputs(*state, *part)
            out, state = apply_form(
                FORMS[name], part, write[:, start:stop], read[:, start:stop]
            )
            reads.append(out)
        return jnp.concatenate(reads, axis=1), state

    problem = random_problem(Shape(2, 8, 1, 3, 2, 2, 2), retention)
    compare(problem, {"segmented": in_segments}, tolerance=1e-9)
