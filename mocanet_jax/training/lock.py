"""One training at a time in a working directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mocanet_jax.errors import UserError


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the directory, which exists, for this process; the system lets go of it however
    the process ends. Raises UserError where another process holds it, or it cannot be written.
    """
    try:
        file = (workdir / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write into {workdir}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(
                f"{workdir} is in use by process {file.read().strip()}; wait for it, or use "
                "another --workdir"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
