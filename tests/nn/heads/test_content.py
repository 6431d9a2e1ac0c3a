"""Content heads against loops. Axes: B batch, T time, D width, H heads, S slots."""

import numpy as np
import pytest

from mocanet_jax.core import memory
from mocanet_jax.nn.heads import Content
from tests.nn.heads import one_head

pytestmark = pytest.mark.usefixtures("float64")


def test_the_slots_whose_keys_score_highest_are_addressed():
    """The write query sees three tokens, the read query one."""
    net, (z, _) = one_head.sized(Content(2, temperature=0.5)), one_head.random_inputs(B=1)
    params = one_head.drawn(net)
    trace, own = one_head.run(net, params, one_head.Inputs(z)).trace, params["it"]
    read_query = params["projections"]["head_read_query"]["kernel"]
    before = np.concatenate([np.zeros((2, 4)), z[0]])
    for t in range(z.shape[1]):
        mixed = sum(own["taps"][k] * before[t + k] for k in range(3))
        sources = (
            (mixed @ own["write_query"]["kernel"], trace.write),
            (z[0, t] @ read_query, trace.read),
        )
        for query, address in sources:
            for head, of_head in enumerate(query.reshape(2, 2)):
                scores = own["keys"][head] @ of_head
                best = np.argsort(-scores)[:2]
                weights = np.exp((scores[best] - scores[best[0]]) / 0.5)
                np.testing.assert_array_equal(address.indices[0, t, head], best)
                np.testing.assert_allclose(
                    address.weights[0, t, head], weights / np.linalg.norm(weights), atol=1e-9
                )


def test_masked_tokens_neither_write_nor_forget():
    """Of all tokens masked the memory is what it was; of the others it fades."""
    net, (z, mask) = one_head.sized(Content(1)), one_head.random_inputs()
    params = one_head.drawn(net)
    closed = one_head.gate(mask, 1, np.zeros((2, 6, 1)))
    start = one_head.run(
        net, params, one_head.Inputs(z, np.zeros_like(mask), write=closed)
    ).state
    held = memory.content(start.memory)
    np.testing.assert_array_equal(held[0, 0], params["it"]["start_rows"][0])
    faded = memory.content(
        one_head.run(net, params, one_head.Inputs(z, mask, write=closed)).state.memory
    )
    logits = z @ params["projections"]["head_retention"]["kernel"]
    logits = logits + params["projections"]["head_retention"]["bias"]
    kept = np.prod(np.where(mask[..., None], 1 / (1 + np.exp(-logits)), 1), axis=1)
    np.testing.assert_allclose(faded, held * kept[:, :, None, None], rtol=1e-9)


def test_slots_beyond_the_trained_number_are_never_addressed():
    net, (z, mask) = one_head.sized(Content(1)), one_head.random_inputs()
    params = one_head.drawn(net)
    larger = net.apply({"params": params}, 2, 60, method="initial_state")
    trace = one_head.run(net, params, one_head.Inputs(z, mask, larger)).trace
    assert max(trace.write.indices.max(), trace.read.indices.max()) < 6
