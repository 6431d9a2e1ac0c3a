"""What a training run reports while it goes on, to whoever watches it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from mocanet_jax.nn.summary import Cost


class Monitor(Protocol):
    """Receives the progress of a run; report/terminal.py shows it on a screen."""

    def note(self, line: str) -> None:
        """A line about the run as a whole."""

    def costs(self, costs: dict[str, Cost]) -> None:
        """Parameters and FLOPs per component, before training starts."""

    def training(self, start: int, max_steps: int) -> AbstractContextManager:
        """Entered while steps are made, from step `start` on."""

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Means of training metrics since the last update."""

    def validated(self, step: int, description: str) -> None:
        """A validation, in one line."""


class Silent:
    """A Monitor that shows nothing."""

    def note(self, line):
        """Nothing."""

    def costs(self, costs):
        """Nothing."""

    def training(self, start, max_steps):
        return nullcontext()

    def update(self, step, metrics):
        """Nothing."""

    def validated(self, step, description):
        """Nothing."""
