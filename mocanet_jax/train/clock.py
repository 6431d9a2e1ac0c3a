"""How long a run takes, over all calls of the command that continue it."""

import time

import psutil

from mocanet_jax.train.checkpoints.record import Progress


def seconds_since_process_start() -> float:
    return time.time() - psutil.Process().create_time()


class Clock:
    """Adds up a run's time and tokens, in windows of steps between logs."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self._earlier = progress.wall_seconds
        self._made = time.monotonic()

    @property
    def minutes(self) -> float:
        """Since this clock was made, and those of earlier parts of the run from their process
        start on."""
        return (self._earlier + time.monotonic() - self._made) / 60

    @property
    def wall_minutes(self) -> float:
        """Since the process started, and those of earlier parts of the run."""
        return (self._earlier + seconds_since_process_start()) / 60

    def restart(self) -> None:
        """Starts a window; what came before it is not training time."""
        self._started = time.monotonic()

    def close_window(self, tokens: float) -> float:
        """Adds the window's time and tokens; returns its tokens per second."""
        seconds = time.monotonic() - self._started
        self.progress = self.progress._replace(
            train_seconds=self.progress.train_seconds + seconds,
            tokens=self.progress.tokens + tokens,
        )
        return tokens / seconds

    def note_solved(self, step: int) -> None:
        """Keeps the first step that it is given, and the training time until now."""
        if self.progress.solved_step is None:
            self.progress = self.progress._replace(
                solved_step=step, solved_seconds=self.progress.train_seconds
            )

    def book(self, validation: dict, finished: bool) -> Progress:
        """The progress as a checkpoint of this moment keeps it."""
        self.progress = self.progress._replace(
            validation=validation,
            finished=finished,
            wall_seconds=60 * self.wall_minutes,
        )
        return self.progress
