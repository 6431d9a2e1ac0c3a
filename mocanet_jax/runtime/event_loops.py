"""Event loops that end quietly."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def patient_event_loops() -> Iterator[None]:
    """Event loops that are made meanwhile let their tasks end before they close.

    Orbax closes its loop at the first array that it cannot read or write; every other array
    that is still on its way would then print a traceback of its own.
    """
    make = asyncio.new_event_loop
    asyncio.new_event_loop = _PatientEventLoop
    try:
        yield
    finally:
        asyncio.new_event_loop = make


class _PatientEventLoop(asyncio.SelectorEventLoop):
    def close(self):
        if not self.is_closed() and (tasks := asyncio.all_tasks(self)):
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        super().close()
