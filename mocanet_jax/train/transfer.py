"""Parameters that a run starts from: those of another run, matched by path.

An array is taken where the other run has one of the same path and shape. Rows that stand for
words (embeddings, heads) are matched by word, so that vocabularies may differ. An ensemble
takes the arrays of a single model for each of its members, and a classifier the layers and the
word table of a language model.

Axes: N members, V vocabulary, D width.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.tree_paths import path_names
from mocanet_jax.tasks.task import Task
from mocanet_jax.train.checkpoints.shipped import place
from mocanet_jax.train.restore import restored

MEMBERS = "members"
SAME_TABLE = (("embed", "words", "embedding"), ("embed", "embedding"))
"""Paths of the word table of a classifier and of a language model."""

MOST_NAMED = 8

Words = tuple[str, ...]
"""What each row of a word table stands for; () where that is not known."""


class Taken(NamedTuple):
    """params: the tree of the new run. lines: what was taken, and what was not."""

    params: dict
    lines: list[str]


class Match(NamedTuple):
    """array: in place of a fresh one. rows: of it that are taken, None for all. whole: rows
    that there are."""

    array: jax.Array
    rows: int | None
    whole: int

    @property
    def parameters(self) -> int:
        return self.array.size * (self.whole if self.rows is None else self.rows) // self.whole


def started_from(workdir: Path, task: Task, params: dict) -> Taken:
    """`params`, fresh ones of a run of `task`, with those of the best checkpoint in `workdir`
    in place of what matches.

    Raises UserError where there is no run, or nothing of it matches."""
    source = restored(place(workdir))
    theirs = {
        _without_members(path_names(path)): (MEMBERS in path_names(path), np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(source.trained.params)
    }
    words = _words(task), _words(source.task)
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    fresh = {path_names(path): leaf for path, leaf in leaves}
    matches = {names: _match(names, leaf, theirs, words) for names, leaf in fresh.items()}
    taken = sum(match.parameters for match in matches.values() if match)
    if not taken:
        raise UserError(
            f"config.train.init_from={workdir}: no parameter of that run has the path and "
            "shape of one of this model"
        )
    count = sum(leaf.size for leaf in fresh.values())
    lines = [f"started from {workdir}, step {source.step}: {taken:,} of {count:,} parameters"]
    lines += [
        f"{'/'.join(names)}: {match.rows:,} of {match.whole:,} words"
        for names, match in matches.items()
        if match and match.rows is not None
    ]
    if left := ["/".join(names) for names, match in matches.items() if not match]:
        named = ", ".join(left[:MOST_NAMED]) + ", …" * (len(left) > MOST_NAMED)
        lines.append(f"not there, or of another shape, and fresh: {named}")
    merged = [match.array if match else fresh[names] for names, match in matches.items()]
    return Taken(jax.tree_util.tree_unflatten(tree, merged), lines)


def _match(names, fresh, theirs, words: tuple[Words, Words]) -> Match | None:
    """Of one array. theirs: (of an ensemble, array) by path without members. words: of the new
    run and of the other."""
    found = _found(theirs, _without_members(names))
    if found is None:
        return None
    of_ensemble, array = found
    if MEMBERS in names:
        array = array if of_ensemble else array[None]
        array = array[np.arange(len(fresh)) % len(array)]
    elif of_ensemble:
        array = array[0]
    if array.shape == fresh.shape and _same_rows(array.shape, *words):
        return Match(jnp.asarray(array, fresh.dtype), None, 1)
    axis = _word_axis(fresh.shape, array.shape, *words)
    if axis is None:
        return None
    rows = _shared_rows(*words)
    return Match(_with_rows(fresh, array, axis, rows), len(rows), fresh.shape[axis])


def _without_members(names):
    return tuple(name for name in names if name != MEMBERS)


def _found(theirs, names):
    """Of this path, or of the other name of the word table."""
    other = {one: two for one, two in (SAME_TABLE, SAME_TABLE[::-1])}.get(names)
    return theirs.get(names) or theirs.get(other)


def _words(task) -> tuple[str, ...]:
    """What each row of a word table stands for; () where that is not known by name."""
    return getattr(getattr(task, "vocabulary", None), "names", ())


def _same_rows(shape, new, old) -> bool:
    """Whether no axis of an array of this shape in both runs can stand for words that have
    other numbers in each."""
    return new == old or len(new) != len(old) or len(new) not in shape


def _word_axis(new_shape, old_shape, new, old) -> int | None:
    """The one axis that stands for the words of both; None where the shapes do not allow it."""
    if not new or not old or len(new_shape) != len(old_shape):
        return None
    pairs = list(zip(new_shape, old_shape, strict=True))
    axes = [axis for axis, pair in enumerate(pairs) if pair == (len(new), len(old))]
    if len(axes) != 1 or any(a != b for n, (a, b) in enumerate(pairs) if n != axes[0]):
        return None
    return axes[0]


def _shared_rows(new, old) -> np.ndarray:
    """Numbers of the words that both have, int [shared, 2]."""
    numbers = {word: n for n, word in reversed(list(enumerate(old)))}
    shared = [(n, numbers[word]) for n, word in enumerate(new) if word in numbers]
    return np.array(shared, np.int64).reshape(-1, 2)


def _with_rows(fresh, array, axis, rows):
    merged = np.moveaxis(np.array(fresh), axis, 0)
    merged[rows[:, 0]] = np.moveaxis(array, axis, 0)[rows[:, 1]]
    return jnp.asarray(np.moveaxis(merged, 0, axis), fresh.dtype)
