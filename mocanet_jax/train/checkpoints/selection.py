"""The choice among checkpoints.

Among those within the budget the one of lowest validation loss; where none is, the one of
lowest loss, which reports then say. Of equals the newest.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mocanet_jax.train.checkpoints.record import Record
from mocanet_jax.train.config.settings import budget_target


class Standing(NamedTuple):
    """A validated checkpoint. loss: in nats. usage: share in [0, 1] of the full compute.
    target: the most usage that its config allows, None where nothing is to be kept."""

    loss: float
    usage: float
    target: float | None

    @property
    def within_budget(self) -> bool:
        return self.target is None or self.usage <= self.target


def standing(record: Record) -> Standing | None:
    """None of a checkpoint that was not validated."""
    if record.loss is None:
        return None
    usage = record.progress.validation.get("usage", 0.0)
    return Standing(record.loss, usage, budget_target(record.progress.config))


def best(standings: Mapping[int, Standing | None]) -> int | None:
    """The step to use, of standings by step; None where none was validated.

    Only checkpoints with the newest one's target count: what an earlier budget allowed is no
    measure of a new one."""
    rivals = _rivals(standings)
    rank = lambda step: (not rivals[step].within_budget, rivals[step].loss, -step)
    return min(rivals, key=rank, default=None)


def superfluous(standings: Mapping[int, Standing | None]) -> list[int]:
    """Steps that nobody needs: neither the latest, nor the best, nor the best by loss alone,
    which is of use under a larger budget."""
    rivals = _rivals(standings)
    by_loss = min(rivals, key=lambda step: (rivals[step].loss, -step), default=None)
    needed = {max(standings, default=None), best(standings), by_loss}
    return [step for step in standings if step not in needed]


def _rivals(standings) -> dict[int, Standing]:
    validated = {step: found for step, found in standings.items() if found is not None}
    if not validated:
        return {}
    target = validated[max(validated)].target
    return {step: found for step, found in validated.items() if found.target == target}
