"""Text from a language model: the same state as reading it, and the choice of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mocanet_jax as moca
from mocanet_jax.evaluate.reading import evaluated_slots
from mocanet_jax.inference.generation import BLOCK, Generator, Sampling, sample
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.train import loop
from tests.language import tiny_language


@pytest.fixture(scope="module")
def generator(finished_language):
    return Generator(finished_language[0]), finished_language[0]


def test_greedy_tokens_are_those_of_reading_the_whole(generator):
    """Token by token, the state must be that of the text at once; across a block, too."""
    generator, _ = generator
    prompt = generator.tokenizer.encode("ada meets ").tolist()
    made = list(generator.tokens(prompt, Sampling(temperature=0.0), BLOCK + 4))
    text = jnp.array([prompt + made])
    slots = evaluated_slots(generator.model, generator.config)

    def whole(trained, tokens):
        state = trained.initial_state(generator.model, 1, slots)
        return trained.apply(generator.model, tokens, state)[0]

    logits = jax.jit(whole)(generator._trained, text)
    expected = np.asarray(logits[0, len(prompt) - 1 : -1]).argmax(axis=-1)
    assert made == expected.tolist()


def test_a_window_is_read_again_before_it_is_full(tmp_path):
    """A state that overflows is NaN, and its likeliest token 0. With a window of 6 blocks have
    3 tokens, and the last 3 are read again whenever there is no room for a block."""
    (tmp_path / "text.txt").write_text(tiny_language.text(), encoding="utf-8")
    config = tiny_language.config(
        tmp_path / "text.txt",
        model__name="transformer",
        data__segment=6,
        train__max_steps=2,
        baseline__transformer__width=8,
        baseline__transformer__num_heads=2,
    )
    loop.train(config, tmp_path / "run")
    generator = Generator(tmp_path / "run")
    prompt = generator.tokenizer.encode("ada").tolist()
    text = prompt + list(generator.tokens(prompt, Sampling(temperature=0.0), 20))
    for place in (6, 9, 12):
        seen = jnp.array([text[place - 3 : place]])
        logits, _, _ = generator._trained.apply(generator.model, seen)
        assert text[place] == int(np.asarray(logits)[0, -1].argmax())


def test_a_longer_text_begins_as_a_shorter_one(generator):
    """The same seed; and another seed writes another text."""
    generator, workdir = generator
    write = lambda length, seed: "".join(generator.stream("bob", Sampling(), length, seed))
    assert write(40, 1).startswith(write(13, 1))
    assert len(write(40, 1)) == 40
    assert write(40, 1) != write(40, 2)
    assert moca.load(workdir).generate("bob", 13, seed=1) == write(13, 1)
    assert len("".join(generator.stream("", Sampling(), 5))) == 5, "an empty prompt"


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=0.0), {1}),
        (Sampling(top_k=2), {1, 3}),
        (Sampling(top_p=0.5), {1}),
        (Sampling(top_p=0.75), {1, 3}),
        (Sampling(), {0, 1, 2, 3}),
    ],
)
def test_only_the_likeliest_tokens_are_drawn(sampling, expected):
    """Of probabilities 0.1, 0.5, 0.1, 0.3: 0.5 alone reaches 0.5, with 0.3 it reaches 0.75."""
    logits = jnp.log(jnp.array([0.1, 0.5, 0.1, 0.3]))
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = jax.vmap(lambda key: sample(key, logits, sampling))(keys)
    assert set(np.asarray(drawn).tolist()) == expected


def test_a_low_temperature_draws_likely_tokens_more_often():
    """Frequencies are those of p^(1/temperature): here 0.8² / (0.8² + 0.2²) = 0.941."""
    logits, keys = jnp.log(jnp.array([0.8, 0.2])), jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: sample(key, logits, Sampling(temperature=0.5)))(keys)
    assert np.mean(np.asarray(drawn) == 0) == pytest.approx(0.941, abs=0.015)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=-1.0), Sampling(top_k=-1), Sampling(top_p=0.0), Sampling(top_p=1.5)],
)
def test_impossible_settings_are_refused(sampling):
    with pytest.raises(UserError, match=r"must be"):
        sampling.check()


def test_other_runs_write_no_text(finished):
    with pytest.raises(UserError, match="holds a copy run, not a language model"):
        Generator(finished[0])
