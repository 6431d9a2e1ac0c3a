"""Stop requests: Ctrl-C, or a scheduler that reclaims the machine."""

import os
import signal
import sys
import threading

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Within it the first SIGTERM or SIGINT is noted, for the loop to act on when its step is
    done; the second ends the process at once, with 128 + its number. Signals come to the main
    thread alone; in another one none is noted.

    received: the signal, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None

    def _note(self, number, frame):
        name = signal.Signals(number).name
        if self.received is not None:
            os.write(sys.stderr.fileno(), f"{name} again: leaving at once\n".encode())
            os._exit(128 + number)
        self.received = signal.Signals(number)
        os.write(sys.stderr.fileno(), f"{name}: finishing the step, then saving\n".encode())

    def __enter__(self):
        alone = threading.current_thread() is not threading.main_thread()
        caught = () if alone else STOPPING
        self._before = {number: signal.signal(number, self._note) for number in caught}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)
