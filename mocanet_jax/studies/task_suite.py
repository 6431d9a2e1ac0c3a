"""A suite of tasks: models on tasks, each with the learning rate that suits it best, and what
they reached there.

A rate is chosen by the validation loss of seed 0; the other seeds run with the chosen one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from mocanet_jax.studies import study
from mocanet_jax.studies.variants import Variant

LOSS = "validation_loss"


class Entrant(NamedTuple):
    """A model on a task. variants: of it, one a learning rate."""

    task: str
    model: str
    variants: Sequence[Variant]


class Reached(NamedTuple):
    """What a model reached on a task.

    chosen: the variant with the lowest loss of validation. losses: those of seed 0, by
    learning rate. results: of the chosen one, what result.json holds by seed.
    """

    task: str
    model: str
    chosen: Variant
    losses: dict[float, float]
    results: dict[int, dict]

    @property
    def best_seed(self) -> int:
        """Of lowest validation loss; what is tested chooses nothing."""
        return min(self.results, key=lambda seed: self.results[seed][LOSS])

    @property
    def best(self) -> dict:
        """The result of the best seed."""
        return self.results[self.best_seed]

    @property
    def trained_on(self) -> tuple[int, int]:
        """Shortest and longest length."""
        data = self.chosen.config["data"]
        return data["shortest"], data["longest"]

    @property
    def scores(self) -> dict[int, float]:
        """By seed, the mean accuracy over the evaluated lengths beyond those of training, in
        [0, 1]; empty where none was evaluated."""
        beyond = {
            seed: [
                accuracy
                for length, accuracy in result["eval/accuracy_by_length"].items()
                if int(length) > self.trained_on[1]
            ]
            for seed, result in self.results.items()
        }
        return {seed: fmean(values) for seed, values in beyond.items() if values}

    @property
    def solved(self) -> list[dict]:
        """The results of the seeds that solved the task."""
        return [one for one in self.results.values() if one["solved_step"] is not None]


class SuiteFindings(NamedTuple):
    """num_seeds, minutes: requested; 0 minutes are no limit."""

    num_seeds: int
    minutes: float
    rows: list[Reached]
    failed: list[study.Outcome]


def conduct(
    entrants: Sequence[Entrant],
    num_seeds: int,
    processes: int,
    out: Path,
    say: Callable[[str], None],
    start: study.Start,
) -> tuple[list[Reached], list[study.Outcome]]:
    """Runs what has no result yet (study.conduct). Returns what each model reached of which a
    learning rate ended well with seed 0, and the outcomes of all runs. start: of one run
    (study.Start).
    """
    every = [variant for entrant in entrants for variant in entrant.variants]
    outcomes = study.conduct(every, [0], processes, out, say, start)
    losses = {
        outcome.cell.variant.name: outcome.result[LOSS]
        for outcome in outcomes
        if outcome.result is not None
    }
    chosen = {}
    for entrant in entrants:
        ended = [variant for variant in entrant.variants if variant.name in losses]
        if ended:
            best = min(ended, key=lambda variant: losses[variant.name])
            by_rate = {v.settings["learning_rate"]: losses[v.name] for v in ended}
            chosen[best.name] = Reached(entrant.task, entrant.model, best, by_rate, {})
    if num_seeds > 1 and chosen:
        further = [reached.chosen for reached in chosen.values()]
        seeds = range(1, num_seeds)
        outcomes += study.conduct(further, seeds, processes, out, say, start)
    for cell, result, _, _ in sorted(outcomes, key=lambda outcome: outcome.cell.seed):
        if result is not None and cell.variant.name in chosen:
            chosen[cell.variant.name].results[cell.seed] = result
    return list(chosen.values()), outcomes
