"""Losses and gradients that are not finite: named, and nothing is learned from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.metrics_log import read_metrics
from mocanet_jax.train import trainer
from mocanet_jax.train.state import step_keys
from tests.train import tiny
from tests.train.test_loop import final_state

BRIEF = {"train__eval_every": 2, "eval__lengths": (), "eval__long_lengths": ()}
"""Of evaluation only what a checkpoint needs."""


def skipping(**changes):
    """A config that skips; its model, of a controller alone, compiles soon."""
    changes |= BRIEF | {"train__on_nonfinite": "skip", "model__experts__count": 0}
    return tiny.config("no_memory", **changes)


@pytest.fixture
def broken_at(monkeypatch):
    """Makes the first state of the model NaN in training from `first` steps made on, for
    `count` steps."""

    def install(first, count=1):
        add_state_noise = trainer.add_state_noise
        broken = jnp.stack(
            [
                jax.random.key_data(step_keys(0, jnp.int32(number)).noise)
                for number in range(first, first + count)
            ]
        )

        def add_nan(state, key, scale):
            hit = (jax.random.key_data(key)[None] == broken).all(-1).any()
            extra = jnp.where(hit, jnp.nan, 0.0)
            noisy = add_state_noise(state, key, scale)
            return jax.tree.map(lambda x: x + extra.astype(x.dtype), noisy)

        monkeypatch.setattr(trainer, "add_state_noise", add_nan)

    return install


def test_a_run_stops_and_names_step_term_and_checkpoint(tmp_path, broken_at):
    """Else hours go on in NaN, and nobody knows where it began."""
    broken_at(2)
    with pytest.raises(UserError) as error:
        tiny.train(tiny.config(train__log_every=5, **BRIEF), tmp_path / "run", tiny.console())
    message = str(error.value)
    terms = "task_loss, budget_loss, balance_loss, quantisation_loss, gradient_norm"
    assert f"diverged: {terms} not finite at step 3; the last checkpoint is step 2" in message
    assert "\n" not in message
    state = final_state(tmp_path / "run", tiny.config(train__log_every=5, **BRIEF))
    assert int(state.step) == 2


def test_a_skipped_batch_changes_nothing(tmp_path, broken_at):
    """The step counts, so that the next batch is another one; parameters and optimizer have
    not seen it."""
    broken_at(2)
    config = skipping()
    tiny.train(config, tmp_path / "run", tiny.console())
    rows = [row for row in read_metrics(tmp_path / "run") if "train/skipped" in row]
    assert [row["train/skipped"] for row in rows] == [0, 0, 1, 0, 0]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    state = final_state(tmp_path / "run", config)
    assert int(state.step) == tiny.STEPS
    assert int(state.skipped) == 0
    counts = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.int32]
    assert counts
    assert all(count == tiny.STEPS - 1 for count in counts)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_skipping_gives_up(tmp_path, broken_at):
    """A run that has diverged for good would skip to its end and report old parameters."""
    broken_at(1, count=4)
    config = skipping(train__nonfinite_patience=3)
    with pytest.raises(UserError, match=r"at step 4, the last 3 in a row; the last checkpoint"):
        tiny.train(config, tmp_path / "run", tiny.console())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__on_nonfinite": "ignore"}, 'on_nonfinite must be "stop" or "skip"'),
        ({"train__nonfinite_patience": 0}, "nonfinite_patience must be at least 1"),
    ],
)
def test_other_settings_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        tiny.train(tiny.config(**changes), tmp_path / "run", tiny.console())
