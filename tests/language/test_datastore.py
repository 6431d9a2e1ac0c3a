"""A datastore: what it holds, how it is made and refused, and what it does to a prediction."""

import math
import os
import sys
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from mocanet_jax.evaluate.retrieval import Mixture, Neighbours, RetrievalEvaluator
from mocanet_jax.inference import datastore, datastore_building
from mocanet_jax.inference.datastore import Source, opened
from mocanet_jax.inference.datastore_building import build
from mocanet_jax.inference.evaluation import evaluate, evaluate_with_datastore
from mocanet_jax.inference.generation import Generator, Sampling
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.train import loop
from mocanet_jax.train.build import build_model, build_task
from mocanet_jax.train.restore import restored
from mocanet_jax.train.state import initial_trained
from tests.language import tiny_language
from tests.processes import entry_point


@pytest.fixture(scope="module")
def store(finished_language, tmp_path_factory):
    """Of the corpus of the run itself. Not to be changed."""
    folder = tmp_path_factory.mktemp("datastore") / "store"
    build(finished_language[0], "", folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(finished_language):
    """Of the run, without a datastore."""
    return evaluate(finished_language[0])


@pytest.fixture(scope="module")
def alone(finished_language):
    return Generator(finished_language[0])


@pytest.fixture(scope="module")
def looking_up(finished_language, store):
    """(w, T) → a generator with a datastore."""
    generator = Generator(finished_language[0], datastore=store)

    def mixed(*mixture):
        generator._store = generator._store._replace(mixture=Mixture(*mixture))
        return generator

    return mixed


@pytest.fixture(scope="module")
def run(finished_language):
    return restored(finished_language[0])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def features_of(run, ids):
    """float32 [T, D], of a text at once."""
    read = lambda trained, ids: trained.apply(run.model, ids, method="with_features")[0]
    return np.asarray(jax.jit(read)(run.trained, np.int32(ids)[None, :-1]))[0]


def by_brute_force(keys, queries):
    """Squared distances of all keys, nearest first, and their places."""
    distances = ((queries[:, None] - np.float32(keys)) ** 2).sum(axis=-1)
    order = np.argsort(distances, axis=-1)
    return np.take_along_axis(distances, order, axis=-1), order


@pytest.mark.parametrize("exact", [1 << 16, 16])
def test_a_search_finds_the_nearest_keys(finished_language, run, tmp_path, monkeypatch, exact):
    """Of all keys, also where they are in lists, of which here all are compared."""
    monkeypatch.setattr(datastore, "EXACT", exact)
    monkeypatch.setattr(datastore, "NEIGHBOURS", 5)
    build(finished_language[0], "", tmp_path / "store")
    search = opened(tmp_path / "store", run.trained, run.task.vocabulary).search
    ids = run.task.training.ids
    keys = np.float16(features_of(run, ids))
    queries = np.random.default_rng(0).normal(size=(20, keys.shape[1])).astype(np.float32)
    found = search(queries)
    distances, _ = by_brute_force(keys, queries)
    np.testing.assert_allclose(found.distances, distances[:, :5], rtol=0.02)
    own = search(np.float32(keys[7:27]))
    np.testing.assert_allclose(own.distances[:, 0], 0, atol=1e-4)
    alone = by_brute_force(keys, np.float32(keys[7:27]))[0][:, 1] > 1e-3
    assert alone.any()
    assert own.tokens[alone, 0].tolist() == ids[8:28][alone].tolist()


@pytest.mark.parametrize(
    ("model", "documents"), [("moca", True), ("lstm", False), ("transformer", True)]
)
def test_every_token_is_kept_under_the_features_before_it(tmp_path, model, documents):
    """Whatever the lanes, the segments, and the windows: row n is of the token n of the text,
    and of its document's beginning."""
    file = tmp_path / "text.txt"
    file.write_text(tiny_language.text(), encoding="utf-8")
    config = tiny_language.config(
        file,
        model__name=model,
        data__documents="lines" if documents else "none",
        data__segment=400,  # the window of a Transformer, which then sees all
        baseline__lstm__width=8,
        baseline__transformer__width=8,
        baseline__transformer__num_heads=2,
    )
    task = build_task(config, tmp_path)
    net = build_model(config, task)
    trained = jax.jit(lambda: initial_trained(net, task))()
    run = SimpleNamespace(config=config, task=task, model=net, trained=trained)
    keys = datastore_building._keys(tmp_path, run, print)
    tokens = task.training
    ends = [*tokens.starts[1:].tolist(), len(tokens) - 1]
    assert len(keys) == len(tokens) - 1
    for start, end in list(zip(tokens.starts.tolist(), ends, strict=True))[:3]:
        expected = features_of(run, tokens.ids[start : end + 1])
        np.testing.assert_allclose(keys[start:end], expected, atol=5e-3)


def test_what_was_stopped_ends_with_the_same_bytes(
    finished_language, store, tmp_path, monkeypatch
):
    """In the middle of the text, after the second state was kept; and again while the index is
    made. Nothing that was done is done again."""
    monkeypatch.setattr(datastore_building, "SAVE_EVERY", 3)
    saved, written = [], []
    save, write = datastore_building._save_state, datastore_building._write_rows

    def save_two(*arguments):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(save(*arguments))

    def stopped(*_):
        raise KeyboardInterrupt

    make = partial(build, finished_language[0], "", tmp_path / "store")
    for name, stop in (("_save_state", save_two), ("_index", stopped)):
        with monkeypatch.context() as patched:
            patched.setattr(datastore_building, name, stop)
            patched.setattr(
                datastore_building, "_write_rows", lambda *a: (written.append(1), write(*a))
            )
            with pytest.raises(KeyboardInterrupt):
                make()
        assert not (tmp_path / "store").exists()
    steps = math.ceil(datastore.usable(store).entries / 7)  # segments of 7 tokens
    assert len(written) == 9 + steps - 6
    with monkeypatch.context() as patched:
        patched.setattr(datastore_building, "_write_rows", stopped)
        make()
    assert contents(tmp_path / "store") == contents(store)
    assert os.listdir(tmp_path) == ["store"]


def test_a_half_made_datastore_of_another_corpus_is_refused(store, tmp_path):
    """Its keys would be those of two texts."""
    source = Source(**datastore.usable(store).source)
    datastore_building._claim(tmp_path, source)
    datastore_building._claim(tmp_path, source)
    with pytest.raises(UserError, match="half-made datastore of another model or corpus"):
        datastore_building._claim(tmp_path, source._replace(corpus="other.txt"))


def test_a_datastore_of_another_model_is_refused(store, run):
    other = run.trained._replace(multiplier=run.trained.multiplier + 1)
    with pytest.raises(UserError, match="made by another model or checkpoint"):
        opened(store, other, run.task.vocabulary)


def test_a_datastore_of_another_tokenizer_is_refused(store, run):
    vocabulary = run.task.vocabulary
    other = type(vocabulary)(vocabulary.documents, vocabulary.alphabet + "z")
    with pytest.raises(UserError, match="made with another tokenizer"):
        opened(store, run.trained, other)


@pytest.mark.parametrize("name", ["index.faiss", "tokens.npy", "datastore.json"])
def test_a_damaged_datastore_is_refused(store, run, tmp_path, name):
    """One bit would be another neighbour, and nobody would see it."""
    for file, content in contents(store).items():
        flipped = bytes([*content[:-1], content[-1] ^ 1]) if file == name else content
        (tmp_path / file).write_bytes(flipped)
    with pytest.raises(UserError, match=f"damaged: {name} is not what was written"):
        opened(tmp_path, run.trained, run.task.vocabulary)
    (tmp_path / manifest.NAME).unlink()
    with pytest.raises(UserError, match="damaged: it has no manifest"):
        opened(tmp_path, run.trained, run.task.vocabulary)


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_a_weight_out_of_range_is_refused(store, run, weight):
    with pytest.raises(UserError, match=r"must be in \[0, 1\), not"):
        opened(store, run.trained, run.task.vocabulary, weight)


def test_what_is_no_datastore_is_refused(finished_language, run, tmp_path):
    with pytest.raises(UserError, match="is no datastore; make one by mocanet datastore"):
        opened(tmp_path, run.trained, run.task.vocabulary)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is there already; pass another --out"):
        build(finished_language[0], "", tmp_path)


def test_other_runs_have_no_datastore(finished, tmp_path):
    with pytest.raises(UserError, match="holds a copy run, not a language model"):
        build(finished[0], "", tmp_path / "store")


def test_a_missing_extra_names_the_command(monkeypatch):
    """The package works without it, and a traceback would not say so."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"pip install 'mocanet-jax\[retrieval\]'"):
        datastore.library()


def test_evaluation_with_and_without(evaluated, store):
    """Without, it is that of the model alone; fitted on validation, it is no worse there; and
    with a weight of 0 the same to the last bit."""
    found = evaluate_with_datastore(evaluated, store)
    valid = found.splits["valid"]
    assert valid["tokens"] == found.fitted_on == evaluated.results.splits["valid"]["tokens"]
    alone = evaluated.results.splits["valid"]["loss"]
    assert valid["without"]["loss"] == pytest.approx(alone, rel=1e-5)
    assert valid["loss"] < valid["without"]["loss"]
    assert (evaluated.workdir / "eval_datastore.json").exists()
    nothing = evaluate_with_datastore(evaluated, store, 0.0).splits["valid"]
    assert nothing["loss"] == nothing["without"]["loss"]


def test_the_weight_is_not_fitted_on_the_test_split(store, run):
    """Else a figure of the test split is one of training."""
    search = opened(store, run.trained, run.task.vocabulary).search
    evaluator = RetrievalEvaluator(run.model, run.config, search)
    valid = run.task.held_out["valid"]
    splits = [{"test": test, "valid": valid} for test in (valid, run.task.training)]
    one, other = (evaluator.test(run.trained, each) for each in splits)
    assert one.mixture == other.mixture
    assert one.splits["test"]["loss"] != other.splits["test"]["loss"]


def test_last_tokens_are_those_of_documents(tmp_path):
    """Each document ends once, whatever the segments and lanes, with the logits that the model
    has there; a text without documents has no such tokens."""
    file = tmp_path / "text.txt"
    file.write_text(tiny_language.text(), encoding="utf-8")
    config = tiny_language.config(file, data__documents="lines")
    task = build_task(config, tmp_path)
    net = build_model(config, task)
    trained = jax.jit(lambda: initial_trained(net, task))()
    nothing = lambda queries: Neighbours(
        np.full((len(queries), 1), np.inf, np.float32), np.zeros((len(queries), 1), np.int32)
    )
    evaluator = RetrievalEvaluator(net, config, nothing)
    tokens = task.training
    blocks = [b.last for b in evaluator.scored(trained, tokens, len(tokens))]
    came, logits = (
        np.concatenate([getattr(last, name) for last in blocks if last is not None])
        for name in ("came", "logits")
    )
    ends = [*(tokens.starts[1:] - 1).tolist(), len(tokens) - 2]
    assert sorted(came.tolist()) == sorted(tokens.ids[ends].tolist())
    read = jax.jit(lambda ids: trained.apply(net, ids)[0][0, -1])
    texts = [tokens.ids[i:j] for i, j in zip(tokens.starts, ends, strict=True)]
    alone = [read(np.int32(text)[None]) for text in texts]
    by_row = lambda rows: np.sort(np.asarray(rows), axis=0)
    np.testing.assert_allclose(by_row(logits), by_row(alone), atol=1e-4)
    found = evaluator.test(trained, {"valid": tokens}, Mixture(0.5, 1.0)).splits["valid"]
    right = np.mean(np.argmax(logits, axis=-1) == came)
    assert found["documents"] == len(ends)
    assert found["last_accuracy"] == found["without"]["last_accuracy"] == right


def test_one_text_has_no_last_tokens(evaluated, store):
    found = evaluate_with_datastore(evaluated, store, 0.5).splits["valid"]
    assert not {"documents", "last_accuracy"} & found.keys()


def test_a_text_that_is_in_the_datastore_is_continued(alone, looking_up, run):
    """The model alone, after six steps, writes something else."""
    ids, prompt, length = run.task.training.ids.tolist(), 10, 40
    write = lambda generator: list(
        generator.tokens(ids[:prompt], Sampling(temperature=0.0), length)
    )
    assert write(looking_up(0.999, 1e-7)) == ids[prompt : prompt + length]
    assert write(alone) != ids[prompt : prompt + length]


def test_a_weight_of_0_writes_what_the_model_writes(alone, looking_up):
    write = lambda generator: "".join(generator.stream("ada", Sampling(), 40, seed=3))
    assert write(looking_up(0.0, 1.0)) == write(alone)


@pytest.mark.integration
def test_the_commands(language_text, tmp_path):
    """From a text to a continuation that is looked up, and an error of one line."""
    loop.train(tiny_language.config(language_text), tmp_path / "run")
    mocanet = partial(entry_point, "command", cwd=tmp_path)
    code, out, err = mocanet("datastore", "run", "--out=store")
    assert (code, err) == (0, "")
    assert out.endswith("store\n")
    assert "fitted on" in out
    code, out, err = mocanet("eval", "run", "--datastore=store")
    assert (code, err) == (0, "")
    assert "with the datastore: weight" in out
    code, out, err = mocanet("generate", "run", "--datastore=store", "--length=5")
    assert (code, err, len(out)) == (0, "", 6)
    (tmp_path / "store" / "tokens.npy").unlink()
    for command in ("eval", "generate"):
        code, _, err = mocanet(command, "run", "--datastore=store")
        line = "store is damaged: tokens.npy is missing; delete it and make it again"
        assert (code, err) == (2, f"error: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["datastore"], "no run given; pass one, for example --workdir=runs/ptb"),
        (["datastore", "run"], "no place to write to; pass a new directory, for example "),
        (["train", "copy", "--datastore=store"], "--datastore is for evaluation: mocanet eval"),
    ],
)
def test_what_is_missing_is_told_in_one_line(tmp_path, arguments, line):
    code, out, err = entry_point("command", *arguments, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) == 1
