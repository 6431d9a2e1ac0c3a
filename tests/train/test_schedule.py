"""The learning rate of runs that are shorter than their warm-up."""

import pytest

from mocanet_jax.train.config.settings import check_settings
from mocanet_jax.train.optimizer import learning_rate_schedule
from tests.train import tiny


@pytest.mark.parametrize(("max_steps", "peak"), [(1, 0), (2, 1), (20, 10), (100, 20)])
def test_warm_up_takes_at_most_half_of_a_run(max_steps, peak):
    """Otherwise a trial of twenty steps is refused, or never reaches its learning rate."""
    config = tiny.config(train__warmup_steps=20, train__max_steps=max_steps)
    check_settings(config)
    schedule = learning_rate_schedule(config.train)
    assert schedule(peak) == pytest.approx(config.train.learning_rate)
    assert schedule(max_steps) == pytest.approx(0.1 * config.train.learning_rate)
