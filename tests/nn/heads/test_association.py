"""Association heads: keys and queries against a loop. Axes: B batch, T time, D width."""

import numpy as np
import pytest

from mocanet_jax.nn.heads import Association
from tests.nn.heads import one_head


@pytest.mark.usefixtures("float64")
def test_keys_and_queries_are_one_map_of_two_views():
    """Of unit length, the query times a sharpness; padding is in no view. What is read is the
    weighted mean of values, by a loop over tokens and what was written until then."""
    net, (z, mask) = one_head.sized(Association(2), num_slots=20), one_head.random_inputs(1, 11)
    params = one_head.drawn(net)
    own, projections = params["it"], params["projections"]
    output = one_head.run(net, params, one_head.Inputs(z, mask))
    seen, held = np.zeros((7, 4)), []
    strength = projections["head_strength"]
    beta = 1 / (1 + np.exp(-(z[0] @ strength["kernel"] + strength["bias"])))
    for t in np.flatnonzero(mask[0]):
        window = np.concatenate([seen, z[0, t : t + 1]])
        seen, views = window[1:], {}
        for name in ("key", "query"):
            view = sum(own[f"{name}_taps"][k] * window[k] for k in range(8))
            view = (view @ own["key"]["kernel"]).reshape(2, 2)
            views[name] = view / np.sqrt(np.sum(view**2, axis=-1, keepdims=True) + 1e-6)
        value = (z[0, t] @ projections["head_value"]["kernel"]).reshape(2, 2)
        held.append((views["key"], value, beta[t]))
        query = views["query"] * own["sharpness"][:, None]
        for head in range(2):
            scores = np.array([np.exp(key[head] @ query[head]) * b[head] for key, _, b in held])
            values = np.array([value[head] for _, value, _ in held])
            expected = scores @ values / (scores.sum() + np.exp(own["sink"][head]))
            np.testing.assert_allclose(output.read[0, t, head], expected, atol=1e-9)
    np.testing.assert_allclose(output.state.recent[0], seen, atol=1e-12)


def test_associations_start_by_finding_what_followed():
    """The key of a token is about the one before it and its query about itself: the second 'a'
    of 'a b … a' must retrieve b from the start, or there is nothing to learn from."""
    net = one_head.sized(Association(1), width=16, num_slots=8)
    letters = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    z, params = letters[[0, 1, 2, 3, 4, 0]][None], one_head.initial(net, width=16)
    read = one_head.run(net, params, one_head.Inputs(z)).trace.read
    assert read.indices[0, 5, 0, 0] == 1
    assert read.weights[0, 5, 0, 0] > 0.9
