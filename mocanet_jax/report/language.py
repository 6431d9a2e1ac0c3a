"""The final evaluation of a language model, as a table, and a text as the model read it.

Axes: N tokens.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from mocanet_jax.core.narrow import BITS
from mocanet_jax.evaluate.language import LanguageEvaluator
from mocanet_jax.evaluate.results import LanguageResults
from mocanet_jax.evaluate.retrieval import RetrievalResults
from mocanet_jax.evaluate.spending import spending
from mocanet_jax.nn.models.protocol import SequenceModel, Trained
from mocanet_jax.nn.summary import state_bytes
from mocanet_jax.report import language_pictures
from mocanet_jax.report.language_pictures import ColouredText
from mocanet_jax.report.terminal import say, table
from mocanet_jax.tasks.corpora.task import LanguageTask
from mocanet_jax.train.build import build_model

SLOTS_FACTORS = (1, 2, 4, 8, 16, 32)
"""How many times as many slots a cache is evaluated with."""

EXAMPLE_LENGTH = 600
"""Tokens of the validation split that are drawn."""


def show(console: Console, results: LanguageResults, task: LanguageTask) -> None:
    """Loss, bits and perplexity of each split, and how much of the text the model could see."""
    columns = ("split", "tokens", "nats", "bits/char", "bits/byte", "usage")
    words = task.vocabulary.kind == "words"
    grid = table(*columns, "perplexity" if words else "accuracy")
    for split, m in results.splits.items():
        last = f"{m['perplexity']:.2f}" if words else f"{m['accuracy']:.2%}"
        rates = (m["loss"], m["bits_per_character"], m["bits_per_byte"])
        grid.add_row(
            split,
            f"{m['tokens']:,.0f}",
            *(f"{x:.4f}" for x in rates),
            f"{m['usage']:.2%}",
            last,
        )
    console.print(grid)
    seen = "all tokens before it"
    if results.context:
        seen = "{:,} to {:,} tokens before it".format(*results.context)
    say(console, f"nats and perplexity a token; each is predicted from {seen}")


def show_datastore(console: Console, results: RetrievalResults) -> None:
    """Loss and perplexity of each split with a datastore and without it."""
    grid = table("split", "tokens", "nats", "with", "perplexity", "with", "change")
    for split, m in results.splits.items():
        alone = m["without"]
        grid.add_row(
            split,
            f"{m['tokens']:,}",
            f"{alone['loss']:.4f}",
            f"{m['loss']:.4f}",
            f"{alone['perplexity']:.2f}",
            f"{m['perplexity']:.2f}",
            f"{m['perplexity'] / alone['perplexity'] - 1:+.1%}",
        )
    console.print(grid)
    for split, m in results.splits.items():
        if "last_accuracy" in m:
            say(
                console,
                f"{split}: the last token of {m['documents']:,} documents is the likeliest in "
                f"{m['without']['last_accuracy']:.2%} without the datastore, in "
                f"{m['last_accuracy']:.2%} with it",
            )
    weight, temperature = results.mixture
    origin = "weight given"
    if results.fitted_on:
        origin = f"fitted on {results.fitted_on:,} tokens of the validation split"
    say(
        console,
        f"with the datastore: weight {weight:.3f}, temperature {temperature:.4g}, {origin}",
    )


def draw(workdir: Path, model: SequenceModel, task: LanguageTask, trained: Trained) -> None:
    """text.html and text.png, for a model that decides what to spend."""
    for name, picture in pictures(model, task, trained).items():
        picture(workdir / name)


def pictures(model: SequenceModel, task: LanguageTask, trained: Trained) -> dict:
    """What draws the beginning of the validation split, by the names of the files."""
    if model.layer is None or not sum(model.layer.flops):
        return {}
    text = coloured(model, task, trained, task.held_out["valid"].ids[: EXAMPLE_LENGTH + 1])
    title = f"The first {len(text.tokens)} tokens of the validation split"
    return {
        "text.html": partial(language_pictures.page, text, title),
        "text.png": partial(language_pictures.picture, text, title),
    }


def perplexity_by_slots(
    config: ConfigDict,
    model: SequenceModel,
    task: LanguageTask,
    trained: Trained,
    factors: tuple[int, ...] | None = None,
) -> dict[int, float]:
    """Perplexity a token of the beginning of the validation split, by the slots of the cache at
    that time; nothing is trained again. factors: how many times as many; None for
    SLOTS_FACTORS."""
    found = {}
    for factor in factors or SLOTS_FACTORS:
        enlarged = deepcopy(config)  # ConfigDict(config) would share its sections
        with enlarged.unlocked():
            enlarged.eval.slots_factor = factor
        metrics = LanguageEvaluator(model, task, enlarged).validate(trained)
        found[factor * model.cache.num_slots] = metrics["perplexity"]
    return found


def perplexity_by_bytes(
    config: ConfigDict, task: LanguageTask, trained: Trained, by_slots: dict[int, float]
) -> dict[int, dict[int, float]]:
    """By the bits of what slots keep, and then by the bytes of the whole state at that time.
    by_slots: what is known of the bits of the run; of others the same numbers of slots, but for
    every second."""
    found = {}
    for bits in BITS:
        narrow, perplexity = deepcopy(config), by_slots
        with narrow.unlocked():
            narrow.model.slot_bits = bits
        model = build_model(narrow, task)
        if bits != config.model.slot_bits:
            few = SLOTS_FACTORS[::2]
            perplexity = perplexity_by_slots(narrow, model, task, trained, few)
        size = partial(state_bytes, model, trained.params)
        found[bits] = {size(slots): value for slots, value in perplexity.items()}
    return found


def coloured(
    model: SequenceModel, task: LanguageTask, trained: Trained, ids: np.ndarray
) -> ColouredText:
    """What a model did at each token. ids: int [N + 1]; the last is only predicted."""
    tokens = ids.astype(np.int32)[None]
    logits, _, aux = jax.jit(lambda t, x: t.apply(model, x))(trained, tokens[:, :-1])
    log_p = jax.nn.log_softmax(logits[0])
    following = -np.asarray(log_p)[np.arange(len(ids) - 1), tokens[0, 1:]]
    nats = np.concatenate([[np.nan], following[:-1]])
    shares = {"spent": np.asarray(spending(model.layer, aux.layers).total)[0]}
    memories = [layer.memory for layer in aux.layers if layer.memory is not None]
    if memories:
        mean = lambda gates: np.mean([np.mean(g[0], axis=-1) for g in gates], axis=0)
        shares["wrote"] = mean([memory.writes for memory in memories])
        shares["read"] = mean([memory.reads for memory in memories])
    if aux.copied is not None:
        # As the loss, of the prediction of each token, which was made at the one before.
        shares["copied"] = np.append(0.0, np.asarray(aux.copied)[0, :-1])
    tokens = _texts(task.vocabulary, ids[:-1])
    config = model.layer
    if config is None or config.groups is None:
        return ColouredText(tokens, shares, nats)
    size = config.num_experts // config.groups.count
    best = [layer.experts for layer in aux.layers]
    best = [np.where(x.computed[0, :, 0], x.indices[0, :, 0], -size) for x in best]
    groups = {f"layer {n}": x // size for n, x in enumerate(best)}
    return ColouredText(tokens, shares, nats, groups, config.groups.count)


def _texts(vocabulary, ids) -> list[str]:
    """Of each token, with the space before it where its tokenizer puts one."""
    texts = []
    for n, number in enumerate(ids.tolist()):
        before = [] if n == 0 else [int(ids[n - 1])]
        whole = vocabulary.decode([*before, number])
        texts.append(whole[len(vocabulary.decode(before)) :])
    return texts
