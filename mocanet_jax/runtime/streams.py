"""Standard streams that are there, and that never end a run."""

import io
import os
import sys
from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")


def open_missing() -> None:
    """Opens the null device for each standard stream that the process was started without.

    Without it the next file that is opened takes the number of the stream, and messages of
    libraries are written into it. To be called before other files are opened.
    """
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
            os.set_inheritable(number, True)  # as standard streams are
            mode, errors = "w" if number else "r", "backslashreplace"
            stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def keep_writing() -> None:
    """From now on nothing fails because standard output or error cannot be written: of a pipe
    whose reader has gone (`head`), on a full disk, or in an encoding without the character."""
    for number, name in enumerate(NAMES[1:], start=1):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and stream.fileno() == number:
            stream.flush()
            setattr(sys, name, _lasting(stream, number))


def _lasting(stream: TextIO, number: int) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        # Of `python -u` and PYTHONUNBUFFERED only write_through tells.
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Lasting(io.FileIO):
    """Writes to nowhere from the first write on that fails."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                print(f"warning: standard output: {error.strerror}", file=sys.stderr)
            return len(data)


def accept_anything() -> None:
    """Input that is not UTF-8 and output that the terminal cannot show are no errors."""
    if sys.stdin is not None:
        encoding = None if sys.stdin.isatty() else "utf-8"
        sys.stdin.reconfigure(encoding=encoding, errors="replace", newline="\n")
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")
