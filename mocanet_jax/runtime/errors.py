"""How a command ends other than by being done."""

import signal


class UserError(Exception):
    """What was wrong, what was expected and what to do, in one line.

    Entry points print it to stderr and exit with code 2.
    """


class Stopped(Exception):
    """Training was stopped by a signal, and has saved. Entry points print the message to
    stderr and exit with 128 + the signal's number.
    """

    def __init__(self, received: signal.Signals, message: str):
        super().__init__(message)
        self.received = received


def one_line(message: str) -> str:
    """With escapes for what ends a line or moves the cursor, as names of files may."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message)


def summary(error: BaseException) -> str:
    """Its message with single spaces for all white space; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
