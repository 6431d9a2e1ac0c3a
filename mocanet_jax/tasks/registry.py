"""Tasks by the names that configs give them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from mocanet_jax.runtime import docstrings
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.imports import import_object

if TYPE_CHECKING:
    from mocanet_jax.tasks.task import Task

_SYNTHETIC, _LANGUAGES = "mocanet_jax.tasks.synthetic", "mocanet_jax.tasks.languages"

TASKS = {
    "copy": f"{_SYNTHETIC}.copy:CopyTask",
    "repeat_copy": f"{_SYNTHETIC}.repeat_copy:RepeatCopyTask",
    "associative_recall": f"{_SYNTHETIC}.associative_recall:AssociativeRecallTask",
    "priority_sort": f"{_SYNTHETIC}.priority_sort:PrioritySortTask",
    "mqar": f"{_SYNTHETIC}.mqar:MqarTask",
    "induction_heads": f"{_SYNTHETIC}.induction_heads:InductionHeadsTask",
    "selective_copying": f"{_SYNTHETIC}.selective_copying:SelectiveCopyingTask",
    "group_word": f"{_LANGUAGES}.group_word:GroupWordTask",
    "parity_check": f"{_LANGUAGES}.parity_check:ParityCheckTask",
    "even_pairs": f"{_LANGUAGES}.even_pairs:EvenPairsTask",
    "cycle_navigation": f"{_LANGUAGES}.cycle_navigation:CycleNavigationTask",
    "modular_arithmetic": f"{_LANGUAGES}.modular_arithmetic:ModularArithmeticTask",
    "reverse_string": f"{_LANGUAGES}.reverse_string:ReverseStringTask",
    "stack_manipulation": f"{_LANGUAGES}.stack_manipulation:StackManipulationTask",
    "duplicate_string": f"{_LANGUAGES}.duplicate_string:DuplicateStringTask",
    "odds_first": f"{_LANGUAGES}.odds_first:OddsFirstTask",
    "missing_duplicate": f"{_LANGUAGES}.missing_duplicate:MissingDuplicateTask",
    "binary_addition": f"{_LANGUAGES}.binary_addition:BinaryAdditionTask",
    "bucket_sort": f"{_LANGUAGES}.bucket_sort:BucketSortTask",
    "text": "mocanet_jax.tasks.text.own:OwnTexts",
    "sst2": "mocanet_jax.tasks.text.sst2:Sst2Task",
    "language": "mocanet_jax.tasks.corpora.task:LanguageTask",
}
"""module:Class, which is imported when it is used."""


def task_class(name: str) -> type:
    """The class of a task of TASKS, or of one's own by "module:Class".

    Raises UserError for an unknown name, a module or class that is not to be had, and a class
    that is no task: one extends SequenceTask or TextTask, and defines what that leaves open, or
    LanguageTask.
    """
    if ":" not in name and name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"config.task: unknown task {name!r}; {hint}known tasks: {', '.join(TASKS)}; one "
            "of your own is module:Class"
        )
    kind = import_object(TASKS.get(name, name), "config.task")
    if name not in TASKS:
        _check_kind(name, kind)
    return kind


def _check_kind(name, kind):
    bases = _bases()
    if not isinstance(kind, type) or not issubclass(kind, tuple(bases)):
        raise UserError(
            f"config.task={name}: not a task, a class that extends SequenceTask, TextTask or "
            "LanguageTask"
        )


def check_complete(name: str, task: Task) -> None:
    """Raises UserError for a task of one's own that does not define what its base requires."""
    base, (methods, constants) = next(
        (base, parts) for base, parts in _bases().items() if isinstance(task, base)
    )
    missing = [part for part in constants if not hasattr(task, part)]
    missing += [part for part in methods if getattr(type(task), part) is getattr(base, part)]
    if missing:
        raise UserError(f"config.task={name}: the class does not define {', '.join(missing)}")


def _bases():
    """By what a task may extend: methods and constants that it has to define."""
    from mocanet_jax.tasks.corpora.task import LanguageTask
    from mocanet_jax.tasks.synthetic.sequence import SequenceTask
    from mocanet_jax.tasks.text.task import TextTask

    of_sequences = ("sample", "num_steps", "answer_length"), ("vocab_size", "blank", "marker")
    of_texts = ("read_train", "read_validation"), ("classes",)
    return {SequenceTask: of_sequences, TextTask: of_texts, LanguageTask: ((), ())}


def data_meanings(name: str) -> dict[str, str]:
    """Meanings of the fields of config.data for a task, as far as its docstring gives them."""
    module, _, kind = TASKS.get(name, name).partition(":")
    try:
        return docstrings.attributes(module, kind)
    except (ImportError, OSError, SyntaxError, ValueError):
        return {}
