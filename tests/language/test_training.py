"""Training on streams: what is carried from one segment to the next."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import loop
from mocanet_jax.train.build import build_model, build_task
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.loop import prepared
from mocanet_jax.train.run import Recorder
from mocanet_jax.train.state import initial_params
from tests.language import tiny_language
from tests.language.tiny_language import SEGMENT, STEPS, STREAMS
from tests.train import tiny


@pytest.fixture
def file(language_text):
    return language_text


@pytest.fixture
def finished(finished_language, language_text):
    """(config, directory, what `train` returned). Not to be changed."""
    return tiny_language.config(language_text), *finished_language


def state_at(step, workdir, config):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return jax.device_get(
            checkpoints.restore(step, prepared(config, workdir).abstract_state())
        )


def test_a_step_begins_where_the_step_before_ended(file):
    """Else a state fits another text than the one that comes: after one step without learning,
    what is carried is the state of the first segment of every stream."""
    config = tiny_language.config(file, train__learning_rate=1e-30, train__weight_decay=0.0)
    ready = prepared(config, Path("none"))
    state = ready.first_state(ready.abstract_state())[0]
    params, batches = jax.device_get(state.params), ready.trainer.task.batches
    chosen = batches.select(STREAMS, 0, STEPS)
    assert chosen.reset[0].all()
    assert not chosen.reset[1].any()
    assert (chosen.start[1] == chosen.start[0] + SEGMENT).all()
    carried, apply = None, jax.jit(ready.trainer.model.apply)
    for step in range(2):
        now = jax.tree.map(lambda x, step=step: x[step], chosen)
        state, metrics = jax.jit(ready.trainer.step)(state, 0, batches.data, now)
        ids = np.asarray(batches.data)[now.start[:, None] + np.arange(SEGMENT)].astype(int)
        _, carried, _ = apply({"params": params}, ids, carried)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.carried, carried
        )
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize("bits", [32, 4])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    finished, file, tmp_path, monkeypatch, bits
):
    """Bit for bit, what is carried included, of fewer bits as well. Stopped in its fourth step,
    after the checkpoint of the second."""
    config, workdir, _ = finished
    if bits != 32:
        config, workdir = tiny_language.config(file, model__slot_bits=bits), tmp_path / "whole"
        loop.train(config, workdir)
    write = Recorder.write

    def interrupted(self, step, *row):
        if step == 4:
            raise KeyboardInterrupt
        write(self, step, *row)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.train(config, tmp_path / "run")
    loop.train(config, tmp_path / "run")
    one, other = (state_at(STEPS, run, config) for run in (workdir, tmp_path / "run"))
    assert one.carried is not None
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_run_keeps_its_tokenizer(finished, file):
    """Else another day's text would number its characters in another way."""
    config, workdir, result = finished
    assert result["eval/tokens"] > 80
    assert result["eval/bits_per_character"] > 0
    assert (workdir / "tokenizer.json").exists()
    task = build_task(config, workdir)
    assert task.saved_tokenizer == task.vocabulary
    assert "".join(sorted(set(tiny_language.text()))) == task.vocabulary.alphabet


@pytest.mark.parametrize(
    "name", ["lstm", pytest.param("transformer", marks=pytest.mark.slow), "deltanet"]
)
def test_baselines_are_trained_on_the_same_streams(file, name):
    """Their states are carried; a window begins afresh with each segment."""
    config = tiny_language.config(file, model__name=name)
    with config.unlocked():
        config.baseline[name].update(width=8, mlp_dim=0)
        if name == "transformer":
            config.baseline[name].num_heads = 2
        if name == "deltanet":
            config.baseline[name].update(num_heads=1, key_dim=4, value_dim=4)
    ready = prepared(config, Path("none"))
    like = ready.abstract_state()
    assert (like.carried is None) == (name == "transformer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__path": "/none/here.txt"}, "/none/here.txt"),
        ({"data__segment": 0}, "segment must be at least 1, not 0"),
        ({"data__tokenizer": "letters"}, "must be one of bytes, characters, words, bpe"),
        ({"data__valid_share": 0.0}, "valid more than 0"),
        ({"train__batch_size": 500}, "lower config.train.batch_size=500"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(file, tmp_path, changes, message):
    """And nothing is written."""
    with pytest.raises(UserError, match=message.replace("[", r"\[")) as error:
        loop.train(tiny_language.config(file, **changes), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_memory_that_a_batch_takes_counts_all_logits(file):
    """Else a large vocabulary is found out by the system, which kills the process."""
    config = tiny_language.config(file, data__segment=20, train__batch_size=2)
    task = build_task(config, Path("none"))
    assert build_model(config, task).vocab_size == len(task.vocabulary) == task.vocab_size
    assert tiny.STEPS


@pytest.mark.parametrize("name", ["moca", "lstm"])
def test_dropout_is_of_training_only(file, name):
    """Else evaluation, and with it the choice of a checkpoint, is noise; or there is none."""
    config = tiny_language.config(file, model__name=name, model__dropout=0.5)
    with config.unlocked():
        config.baseline.lstm.update(width=8)
    task = build_task(config, Path("none"))
    model = build_model(config, task)
    params = jax.jit(lambda: initial_params(model, task))()
    tokens = np.arange(8).reshape(1, 8) % len(task.vocabulary)

    @partial(jax.jit, static_argnums=0)
    def logits(train, seed):
        rngs = {name: jax.random.key(seed) for name in ("dropout", "router")}
        return model.apply({"params": params}, tokens, train=train, rngs=rngs)[0]

    assert np.array_equal(logits(False, 1), logits(False, 2))
    assert not np.allclose(logits(True, 1), logits(True, 2))
