"""What the classifier takes for words and masks, and what it refuses.

Axes: B batch, T time.
"""

import jax
import numpy as np
import pytest

from tests.nn.models.classifiers import (
    B,
    M,
    T,
    classifier,
    random_tokens,
    shapes,
)


def refused(kind, tokens, mask):
    with pytest.raises((AssertionError, ValueError)):
        jax.eval_shape(classifier(kind).apply, shapes(kind), tokens, None, mask)


@pytest.mark.parametrize(
    "tokens",
    [
        random_tokens()[..., 0],  # no pieces
        random_tokens()[..., :M],  # too few of them
        random_tokens()[0],  # no batch
        random_tokens().astype(np.float32),
    ],
    ids=lambda tokens: f"{tokens.dtype}{tokens.shape}",
)
def test_wrong_tokens_are_refused(tokens):
    """Pieces would be taken for words, or words for texts."""
    refused("both", tokens, None)


@pytest.mark.parametrize("kind", ["both", "bare"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_mask_of_numbers_is_refused(dtype, kind):
    """It would weigh words where it should choose them."""
    refused(kind, random_tokens(), np.ones((B, T), dtype))


@pytest.mark.parametrize("kind", ["both", "bare", "bare one"])
@pytest.mark.parametrize("shape", [(B, 1), (1, T), (B, T, 1), (B, T - 1)], ids=str)
def test_a_mask_of_another_shape_is_refused(shape, kind):
    """It would be broadcast into a wrong answer."""
    refused(kind, random_tokens(), np.ones(shape, bool))
