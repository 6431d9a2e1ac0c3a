"""Calls of Orbax without its log: the caller reports the errors that it raises."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def calling_orbax() -> Iterator[None]:
    """Meanwhile Orbax logs nothing, and event loops let their tasks end before they close.

    Orbax logs warnings of settings that are as wanted, and tracebacks of errors that it also
    raises. It closes its loop at the first array that it cannot read or write; every other
    array that is still on its way would then print a traceback of its own.
    """
    make, logger = asyncio.new_event_loop, logging.getLogger("absl")
    level = logger.level
    asyncio.new_event_loop = _PatientEventLoop
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        asyncio.new_event_loop = make
        logger.setLevel(level)


class _PatientEventLoop(asyncio.SelectorEventLoop):
    def close(self):
        if not self.is_closed() and (tasks := asyncio.all_tasks(self)):
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        super().close()
