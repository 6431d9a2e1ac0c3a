"""Settings that are too large, or cannot work together: one line before anything is compiled.

To add a case is to add a line to a table.
"""

import pytest

from mocanet_jax import cli
from mocanet_jax.runtime import memory
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import loop
from mocanet_jax.train.memory import check_memory
from tests.language import tiny_language
from tests.train import tiny
from tests.train.text import tiny_text

TOO_LARGE = {
    "batch": (
        {"train__batch_size": 400_000_000},
        "train.batch_size=400,000,000 sequences",
    ),
    "width": ({"model__width": 1_000_000}, "a model of config.model with 4,0"),
    "experts": ({"model__experts__count": 2_000_000_000}, "a model of config.model with "),
    "hidden width": ({"model__experts__hidden_dim": 2_000_000_000}, "a model of config.model"),
    "training lengths": ({"data__longest": 1_000_000_000}, "sequences of 2,"),
    "evaluation lengths": ({"eval__lengths": (1_000_000_000,)}, "at length 1,000,000,000"),
    "long lengths": ({"eval__long_lengths": (8, 1_000_000_000)}, "at length 1,000,000,000"),
    "evaluation batch": (
        {"eval__tokens_per_batch": 2_000_000_000, "eval__test_sequences": 2_000_000_000},
        "per_batch=2,000,000,000",
    ),
    "layers": (
        {"model__num_layers": 100_000_000},
        "num_layers must be at most 1,000, not 100,",
    ),
    "above 32 bits": ({"train__max_steps": 2**31}, "config.train.max_steps must be below 2^31"),
    "above 64 bits": ({"eval__test_sequences": 10**20}, "test_sequences must be below 2^31"),
    "length above 32 bits": ({"eval__lengths": (2**31,)}, "eval.lengths must be below 2^31"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_no_machine_holds_is_refused_with_an_estimate(tmp_path, case):
    """A traceback of the compiler came after a minute, or the system ended the process."""
    changes, message = TOO_LARGE[case]
    with pytest.raises(UserError) as error:
        loop.train(tiny.config(**changes), tmp_path / "run")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_evaluation_of_a_language_model_is_estimated(tmp_path):
    """A segment of a million tokens for each of many documents has logits that fill any
    machine, and they are first needed at the first validation."""
    file = tmp_path / "text.txt"
    file.write_text(tiny_language.text())
    config = tiny_language.config(file, eval__segment=2_000_000_000)
    with pytest.raises(UserError, match=r"an evaluation of 1 streams with config.eval.segment"):
        loop.train(config, tmp_path / "run")


def test_what_fits_is_not_refused(tmp_path, monkeypatch):
    """The estimate is a lower bound; of a batch it counts one part."""
    ready = loop.prepared(tiny.config(), tmp_path / "run")
    task, like = ready.trainer.task, ready.abstract_state()
    monkeypatch.setattr(memory, "available", lambda: 50_000_000)
    parts = tiny.config(train__batch_size=2**20, train__accumulate_steps=2**18)
    check_memory(parts, task, like, 1)
    whole = tiny.config(train__batch_size=2**20)
    with pytest.raises(UserError, match=r"and there are 0\.1 GB"):
        check_memory(whole, task, like, 1)
    check_memory(whole, task, like, 1024)
    check_memory(tiny.config(eval__tokens_per_batch=2_000_000_000), task, like, 1)
    # Of a step that is not scored there are no logits while training.
    monkeypatch.setattr(type(task), "vocab_size", 500_000)
    short = tiny.config(eval__tokens_per_batch=1, eval__long_lengths=())
    check_memory(short, task, like, 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of\nmemory"),
            "out of memory (",
        ),
        (MemoryError(), "out of memory; "),
    ],
)
def test_a_lack_of_memory_is_reported_in_one_line(capsys, error, message):
    """Whatever an estimate leaves out."""

    def fails():
        raise error

    with pytest.raises(SystemExit) as done:
        cli._guarded(fails)
    assert done.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) == 1


BUCKETS = [
    ((4.0, 8.0), None),
    ((4.5, 8), "whole numbers"),
    ((), "rising lengths"),
    ((8, 4), "rising lengths"),
    ((4, 4), "rising lengths"),
    ((0, 4), "rising lengths"),
    ((-4, 8), "rising lengths"),
    ((float("nan"),), "must be a finite number"),
    (("4", "8"), "whole numbers"),
    ((True, 8), "whole numbers"),
]
"""Values of config.data.buckets, and the message for them, None for none."""


@pytest.mark.parametrize(("buckets", "message"), BUCKETS, ids=str)
def test_buckets_are_whole_numbers(corpus, tmp_path, buckets, message):
    """Floats, as of JSON, gave a traceback when the first batch was made."""
    config = tiny_text.config(corpus).unlock()
    config.data.buckets = buckets
    if message is None:
        task = loop.prepared(config, tmp_path / "run").trainer.task
        assert [type(length) for length in task.buckets] == [int, int]
        return
    with pytest.raises(UserError, match=message):
        loop.prepared(config, tmp_path / "run")
