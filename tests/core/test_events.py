"""Memories that are run over their events alone give what all tokens give.
Axes: B batch, T time, H memory heads, S slots, P value width."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.core import associations, memory
from mocanet_jax.core.addressing import Address
from mocanet_jax.core.events import by_events
from mocanet_jax.core.order import by_place
from tests.core.naive_memory import Shape, random_problem

SHAPE = Shape(B=2, T=9, H=2, S=4, P=3, writes=2, reads=2)
GATES = {"none": (0.0, 0.0), "few": (0.3, 0.3), "writes": (0.6, 0.0), "all": (1.0, 1.0)}
"""Shares of tokens that write and that read."""


def gates(share, seed):
    """Random, [B, T, H], of which the last sequence has half as many."""
    chance = np.random.default_rng(seed).random((SHAPE.B, SHAPE.T, SHAPE.H))
    return chance * np.array([1.0, 2.0])[:, None, None] < share


def slots_problem(retention, kind, seed=0):
    """A memory that has been used before, its accesses, and which of them read."""
    inputs, write, read = random_problem(SHAPE, retention, seed=seed)
    writing, reading = (gates(s, seed + n) for n, s in enumerate(GATES[kind]))
    kept = retention != "none"
    state = memory.MemoryState(inputs.slots, inputs.log_decay if kept else None)
    accesses = memory.Accesses(
        Address(write, inputs.write_weights),
        Address(read, inputs.read_weights),
        inputs.value,
        inputs.strength * writing,
        inputs.log_retention if kept else None,
    )
    return jax.tree.map(jnp.asarray, (state, accesses, reading))


def every_token(state, accesses, reads):
    found, state = memory.recurrent(state, accesses)
    return jnp.where(reads[..., None], found, 0.0), state


def compare(got, expected):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-9)


def content_too(run, *problem):
    found, state = run(*problem)
    return found, memory.content(state)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("retention", ["none", "mixed"])
def test_events_of_slots_are_the_scan_over_all_tokens(retention):
    """Values and gradients, with any share of gates open and none: tokens that are skipped
    would lose their decay, or a memory with fewer events would do what another does."""
    run, scan = (jax.jit(partial(content_too, f)) for f in (by_events, every_token))

    def gradient(run):
        def loss(state, value, problem):
            _, accesses, reads = problem
            found, left = run(state, accesses._replace(value=value), reads)
            return jnp.sum(found**2) + jnp.sum(left**3)

        return jax.jit(jax.grad(loss, (0, 1)))

    of_run, of_scan = gradient(run), gradient(scan)
    for seed, kind in enumerate(GATES):
        problem = slots_problem(retention, kind, seed)
        compare(run(*problem), scan(*problem))
        leaves = problem[0], problem[1].value, problem
        compare(of_run(*leaves), of_scan(*leaves))


@pytest.mark.usefixtures("float64")
def test_members_of_an_ensemble_have_events_of_their_own():
    problems = [slots_problem("mixed", kind, n) for n, kind in enumerate(("few", "writes"))]
    both = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    results = jax.jit(jax.vmap(partial(content_too, by_events)))(*both)
    alone = jax.jit(partial(content_too, every_token))
    for n, problem in enumerate(problems):
        compare(jax.tree.map(lambda x, n=n: x[n], results), alone(*problem))


@pytest.mark.usefixtures("float64")
def test_a_second_segment_goes_on_where_the_first_ended():
    """Pending decay is kept in the state though no event ever applied it."""
    state, accesses, reads = slots_problem("mixed", "few")
    whole = jax.jit(partial(content_too, by_events))(state, accesses, reads)
    run, found = jax.jit(by_events), []
    for part in (slice(0, 4), slice(4, None)):
        pick = lambda x, part=part: x[:, part]
        read, state = run(state, jax.tree.map(pick, accesses), pick(reads))
        found.append(read)
    compare((jnp.concatenate(found, axis=1), memory.content(state)), whole)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("score", [associations.by_content, by_place])
def test_events_of_associations_are_all_chunks(score):
    """With more events than one chunk holds, fewer, and none; under vmap, too."""
    B, T, H, S, P = SHAPE.B, SHAPE.T, SHAPE.H, SHAPE.S, SHAPE.P
    rng, options = np.random.default_rng(0), {"chunk_size": 4, "score": score}
    width = 1 if score is by_place else P
    draw = lambda n: jnp.asarray(rng.normal(size=(B, T, H, n)))
    query = jnp.abs(draw(2)) if score is by_place else draw(P)
    start = associations.no_associations(B, H, S, width, P)
    start = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype != jnp.int32 else x, start)
    sink = jnp.zeros((B, H))
    events = jax.jit(jax.vmap(partial(associations.recall_events, **options)))
    chunks = jax.jit(jax.vmap(partial(associations.recall, **options)))
    problems = []
    for seed, (writing, reading) in enumerate(GATES.values()):
        strength = jnp.asarray(rng.uniform(0.1, 1, (B, T, H)) * gates(writing, seed))
        entries = associations.Entries(query, draw(width), draw(P), strength)
        problems.append((start, entries, sink, jnp.asarray(gates(reading, seed + 9))))
    *problem, reads = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    found, state, (write, read) = events(*problem, reads)
    expected, left, (wrote, was_read) = chunks(*problem)
    compare((found, state), (jnp.where(reads[..., None], expected, 0.0), left))
    writes = problem[1].strength > 0
    np.testing.assert_array_equal(write.indices[writes], wrote.indices[writes])
    np.testing.assert_array_equal(read.indices[reads], was_read.indices[reads])
