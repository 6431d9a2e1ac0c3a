"""Work in a thread of its own, beside the one that goes on: for XLA's compiler, which does not
hold Python's lock."""

import threading
from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

R = TypeVar("R")

NAME = "mocanet_jax"
"""Of its threads."""


def running() -> bool:
    """Whether such a call has not ended."""
    return any(thread.name == NAME for thread in threading.enumerate())


class Background(Generic[R]):
    """A call that begins at once. An error in it is raised where its result is wanted."""

    def __init__(self, call: Callable[[], R]):
        self._value: R
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, args=(call,), name=NAME)
        self._thread.start()

    def _run(self, call):
        try:
            self._value = call()
        except BaseException as error:
            self._error = error

    def result(self) -> R:
        """Waits for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value
